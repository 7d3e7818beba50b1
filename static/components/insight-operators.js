// Operators, the most volume first, and what they owe: for the super.
satmachine.component('insight-operators', {
  mixins: [satmachine.autoReload],
  props: {between: {type: Object, required: true}},
  data() {
    return {found: []}
  },
  computed: {
    query() {
      return {...this.between, tz: this.store.zone}
    },
    csvUrl() {
      return satmachine.api.url('/super/operators.csv', {
        ...this.query,
        ...satmachine.forPeople(this.$i18n.locale)
      })
    },
    columns() {
      return [
        'operator',
        'volume',
        'trades',
        'owed',
        'paid',
        'let_go',
        'oldest',
        'states'
      ].map(name => ({name, label: this.t(`insight.op_${name}`)}))
    },
    rows() {
      return this.found.map((one, index) => ({
        key: index,
        operator: this.nameOf(one),
        volume: this.fmt.sats(one.volume_sats),
        trades: this.fmt.number(one.trades),
        owed: this.fmt.sats(one.owed_sats),
        paid: this.fmt.sats(one.paid_sats),
        let_go: this.fmt.sats(one.let_go_sats),
        oldest: one.oldest_unpaid_at
          ? this.fmt.ago(one.oldest_unpaid_at)
          : this.t('insight.op_none'),
        states: this.states(one),
        notes: {
          volume: Object.entries(one.volume_fiat)
            .map(([code, amount]) => this.fmt.fiat(amount, code))
            .join(' + '),
          trades: this.t('insight.op_before', {
            n: this.fmt.number(one.before_trades)
          }),
          oldest: one.oldest_unpaid_at
            ? this.fmt.sats(one.oldest_unpaid_sats)
            : ''
        },
        links: {
          states: one.machine_ids.map(id => ({
            key: id,
            text: this.machineName(id),
            to: {query: {...this.$route.query, machine: id}}
          }))
        },
        to: one.oldest_unpaid_settlement_id && {
          oldest: `/satmachineadmin/settlements/${one.oldest_unpaid_settlement_id}`
        }
      }))
    },
    sets() {
      return [
        {
          label: this.t('insight.op_volume'),
          data: this.found.map(one => one.volume_sats),
          colour: 'primary'
        },
        {
          label: this.t('insight.op_owed'),
          data: this.found.map(one => one.owed_sats),
          colour: 'second'
        }
      ]
    },
    sentence() {
      if (!this.found.length) return this.t('operators.none')
      const [first] = this.found
      const owed = this.found.reduce((sum, one) => sum + one.owed_sats, 0)
      return this.t('insight.operators_says', {
        name: this.nameOf(first),
        sats: this.fmt.sats(first.volume_sats),
        owed: this.fmt.sats(owed)
      })
    }
  },
  watch: {
    query() {
      this.reload(true)
    }
  },
  methods: {
    async load(api) {
      const {data} = await api.get('/super/operators', this.query)
      return () => (this.found = data)
    },
    nameOf({operator_name}) {
      return operator_name || this.t('operators.unnamed')
    },
    states(one) {
      return ['online', 'quiet', 'offline', 'off']
        .filter(name => one[`${name}_count`])
        .map(name =>
          this.t(`insight.state_${name}`, {
            n: this.fmt.number(one[`${name}_count`])
          })
        )
        .join(', ')
    }
  }
})
