// Legs: of all settlements, of one LP (`fixed`), or the reader's `own`.
satmachine.component('legs', {
  props: {
    fixed: {type: Object, default: () => ({})},
    currency: String,
    label: String,
    emptyTitle: String,
    emptyText: String,
    own: Boolean,
    url: Boolean
  },
  data() {
    return {rows: []}
  },
  computed: {
    failed() {
      const may = !this.own && this.can('POST /payments/{leg_id}/retry')
      const isOurs = ({status, machine_id, in_flight}) =>
        status === 'failed' && !in_flight && this.isOwn(machine_id)
      return may ? this.rows.filter(isOurs) : []
    },
    columns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`payments.${name}`),
        sortable: true,
        ...extra
      })
      const group = this.own ? 'own_leg' : 'leg_type'
      const one = this.own || this.fixed.client_id
      return [
        col('transaction_time'),
        !this.fixed.client_id && col('machine_id', {sortable: false}),
        col('leg_type', {format: code => this.words(group, code)}),
        !one && col('label', {sortable: false}),
        col('amount_sats', {
          right: true,
          format: value => this.fmt.number(value)
        }),
        one &&
          col('amount_fiat', {
            right: true,
            format: (value, row) => this.fmt.fiat(value, this.code(row))
          }),
        col('status')
      ].filter(Boolean)
    },
    sums() {
      return ['amount_sats', 'arrived_sats'].map(name => [
        name,
        this.t(`payments.${name}`)
      ])
    },
    filters() {
      const options = (group, codes) =>
        codes.map(value => ({value, label: this.words(group, value)}))
      const types = this.own
        ? ['dca', 'autoforward', 'settlement']
        : ['dca', 'super_fee', 'operator_split', 'settlement', 'refund']
      const status = ['pending', 'completed', 'failed', 'voided', 'skipped']
      return [
        {
          name: 'status',
          label: this.t('payments.status'),
          options: options('leg_status', status)
        },
        !this.fixed.client_id && {
          name: 'leg_type',
          label: this.t('payments.leg_type'),
          options: options(this.own ? 'own_leg' : 'leg_type', types)
        },
        !this.own &&
          !this.fixed.client_id && {
            name: 'machine_id',
            label: this.t('payments.machine_id'),
            options: this.machineOptions()
          },
        // Set by a link from an LP's page.
        this.url && {
          name: 'client_id',
          label: this.t('payments.label'),
          options: [],
          hidden: true
        },
        // Set by the overview, which leaves tests out.
        this.url && {
          name: 'is_test',
          label: this.t('settlement.is_test'),
          options: [],
          hidden: true
        },
        // By it, too: what arrived in its days, whenever the sale was.
        this.url && {
          name: 'paid_at[ge]',
          label: this.t('payments.paid_from'),
          options: [],
          hidden: true
        },
        {name: 'transaction_time', type: 'range'}
      ].filter(Boolean)
    }
  },
  methods: {
    reload(quiet) {
      this.$refs.list.reload(quiet)
    },
    retrySeveral() {
      this.$refs.action.open(
        satmachine.asksSeveral(this.failed, {
          title: this.t('payments.several_title'),
          lines: this.t('payments.several_text'),
          label: this.t('payments.several_label'),
          ok: this.t('leg.retry'),
          fields: [
            {
              name: 'reason',
              type: 'long',
              label: this.t('common.reason'),
              required: true
            }
          ],
          name: leg =>
            `${this.fmt.sats(leg.amount_sats)} · ${this.legName(leg)}`,
          run: ({id}, {reason}) =>
            satmachine.api.post(`/payments/${id}/retry`, {reason})
        })
      )
    },
    code(row) {
      return this.currency || this.currencyOf(row.machine_id)
    }
  }
})
