satmachine.component('screen-lp', {
  mixins: [satmachine.autoReload],
  props: {id: String},
  data() {
    return {client: null, balance: null, others: []}
  },
  computed: {
    mode() {
      const {dca_mode, fixed_mode_daily_limit, currency} = this.client
      if (!dca_mode) return ''
      const name = this.words('dca_mode', dca_mode)
      return dca_mode === 'fixed' && fixed_mode_daily_limit
        ? `${name}: ${this.fmt.fiat(fixed_mode_daily_limit, currency)}`
        : name
    },
    tiles() {
      const sum = this.balance
      const fiat = value => this.fmt.fiat(value, sum.currency)
      const tile = (key, value, to) => ({
        label: this.t(`lps.${key}`),
        value,
        to
      })
      const legs = status => ({
        path: '/satmachineadmin/payments',
        query: {client_id: this.id, ...(status ? {status} : {})}
      })
      return [
        tile('remaining', fiat(sum.remaining)),
        tile('deposited', fiat(sum.deposited)),
        tile('pending_deposits', fiat(sum.pending_deposits)),
        tile('paid_out', fiat(sum.paid_out)),
        tile(
          'sats_received',
          this.fmt.sats(sum.sats_received),
          legs('completed,skipped')
        ),
        tile(
          'sats_on_the_way',
          this.fmt.sats(sum.sats_on_the_way),
          legs('pending,failed')
        )
      ]
    }
  },
  methods: {
    async load(api) {
      const [client, balance] = await Promise.all([
        api.get(`/clients/${this.id}`),
        api.get(`/clients/${this.id}/balance`)
      ])
      const theirs =
        client.person_machines > 1
          ? await api.all('/clients', {person: client.person})
          : []
      return () => {
        this.client = client
        this.balance = balance
        this.others = theirs.filter(({id}) => id !== client.id)
      }
    },
    changed() {
      this.reload(true)
      this.$refs.deposits?.reload(true)
    }
  }
})
