satmachine.component('screen-settlements', {
  data() {
    return {rows: []}
  },
  computed: {
    unseen() {
      const may = this.can('POST /settlements/{settlement_id}/seen')
      const isOurs = row => this.isUnseen(row) && this.isOwn(row.machine_id)
      return may ? this.rows.filter(isOurs) : []
    },
    columns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`settlement.${name}`),
        sortable: true,
        ...extra
      })
      const sats = {right: true, format: value => this.fmt.number(value)}
      return [
        col('transaction_time'),
        col('machine_id', {sortable: false}),
        col('tx_type', {format: code => this.words('tx_type', code)}),
        col('traded_fiat', {
          right: true,
          format: (amount, row) => this.fmt.fiat(amount, row.fiat_code)
        }),
        col('traded_sats', sats),
        col('fee_sats', sats),
        col('wire_sats', sats),
        col('status')
      ]
    },
    sums() {
      // those of the overview's tiles first, then what became of the rest
      return [
        'traded_fiat',
        'traded_sats',
        'fee_sats',
        'wire_sats',
        'retained_sats',
        'refund_sats',
        'loss_sats'
      ].map(name => [name, this.t(`settlement.${name}`)])
    },
    filters() {
      const option = group => code => ({
        value: code,
        label: this.words(group, code)
      })
      return [
        {
          name: 'status',
          label: this.t('settlement.status'),
          options: [
            'awaiting_dispense',
            'pending',
            'processing',
            'completed',
            'attention',
            'quarantined',
            'voided'
          ].map(option('settlement_status'))
        },
        {
          name: 'tx_type',
          label: this.t('settlement.tx_type'),
          options: ['cash_out', 'cash_in'].map(option('tx_type'))
        },
        {
          name: 'machine_id',
          label: this.t('settlement.machine_id'),
          options: this.machineOptions()
        },
        {
          name: 'is_test',
          label: this.t('settlement.is_test'),
          options: ['true', 'false'].map(value => ({
            value,
            label: this.t(value === 'true' ? 'common.yes' : 'common.no')
          }))
        },
        // where a code leads to the sales that took it
        {
          name: 'discount_code',
          label: this.t('settlement.discount_code'),
          options: [],
          hidden: true
        },
        {name: 'transaction_time', type: 'range'}
      ]
    }
  },
  methods: {
    seeSeveral() {
      this.$refs.action.open(
        satmachine.asksSeveral(this.unseen, {
          title: this.t('settlements.several_title'),
          lines: this.t('repair.seen_text'),
          label: this.t('settlements.several_label'),
          ok: this.t('repair.seen'),
          name: row =>
            [
              this.fmt.second(row.transaction_time),
              this.fmt.fiat(row.traded_fiat, row.fiat_code),
              row.marks.map(one => this.words('mark', one)).join(', ')
            ].join(' · '),
          run: ({id}) => satmachine.api.post(`/settlements/${id}/seen`)
        })
      )
    },
    open(row) {
      this.go(`settlements/${row.id}`)
    }
  }
})
