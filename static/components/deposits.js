// Deposits: of all LPs, of one (`fixed`), or the reader's `own`.
satmachine.component('deposits', {
  props: {
    fixed: {type: Object, default: () => ({})},
    own: Boolean,
    url: Boolean
  },
  emits: ['changed'],
  data() {
    return {rows: []}
  },
  computed: {
    waiting() {
      const may = !this.own && this.can('PUT /deposits/{deposit_id}/status')
      return may ? this.rows.filter(({status}) => status === 'pending') : []
    },
    columns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`deposits.${name}`),
        sortable: true,
        ...extra
      })
      const one = this.own || this.fixed.client_id
      return [
        col('created_at', {format: value => this.fmt.time(value)}),
        !one && col('username'),
        !one && col('machine_id', {sortable: false}),
        col('amount', {
          right: true,
          format: (amount, row) => this.fmt.fiat(amount, row.currency)
        }),
        col('status'),
        col('notes', {sortable: false}),
        col('actions', {sortable: false})
      ].filter(Boolean)
    },
    sums() {
      return [
        ['booked_amount', this.t('deposits.booked')],
        ['amount', this.t('deposits.amount')]
      ]
    },
    filters() {
      return [
        {
          name: 'status',
          label: this.t('deposits.status'),
          options: [
            'pending',
            'claimed',
            'confirmed',
            'cancelled',
            'reversed'
          ].map(value => ({value, label: this.words('deposit_status', value)}))
        },
        {name: 'created_at', type: 'range'}
      ]
    }
  },
  methods: {
    reload(quiet) {
      this.$refs.list.reload(quiet)
    },
    confirmSeveral() {
      this.$refs.action.open(
        satmachine.asksSeveral(this.waiting, {
          title: this.t('deposits.several_title'),
          lines: this.t('deposits.several_text'),
          label: this.t('deposits.several_label'),
          ok: this.t('deposits.do_confirmed'),
          name: ({amount, currency, username, client_id}) =>
            [
              this.fmt.fiat(amount, currency),
              username || this.fmt.short(client_id)
            ].join(' · '),
          run: ({id}) =>
            satmachine.api.put(`/deposits/${id}/status`, {status: 'confirmed'})
        })
      )
    },
    changed() {
      this.reload(true)
      this.$emit('changed')
    }
  }
})
