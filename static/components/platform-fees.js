// The platform's fractions and wallet, with what customers would pay in all.
satmachine.component('platform-fees', {
  mixins: [satmachine.autoReload, satmachine.keepsTyped],
  emits: ['saved'],
  data() {
    return {
      fees: {out: '0.0000', in: '0.0000'},
      wallet: null,
      unused: 20,
      was: '',
      round: 0,
      machines: [],
      most: 20,
      failure: ''
    }
  },
  computed: {
    wallets() {
      return this.g.user.wallets
        .filter(wallet => wallet.walletType === 'lightning')
        .map(({id, name}) => ({value: id, label: name}))
    },
    body() {
      return {
        super_cash_out_fee_fraction: this.fees.out,
        super_cash_in_fee_fraction: this.fees.in,
        super_fee_wallet_id: this.wallet || null,
        unused_machines_limit: Number(this.unused)
      }
    },
    dirty() {
      return !!this.was && JSON.stringify(this.body) !== this.was
    }
  },
  methods: {
    async load(api) {
      const [config, machines] = await Promise.all([
        api.get('/super/config'),
        api.all('/machines', {scope: 'all', sortby: 'name', direction: 'asc'})
      ])
      return () => {
        this.machines = machines
        if (this.was && this.dirty) return
        this.show(config)
      }
    },
    show(config) {
      this.fees = {
        out: config.super_cash_out_fee_fraction,
        in: config.super_cash_in_fee_fraction
      }
      this.wallet = config.super_fee_wallet_id
      this.unused = config.unused_machines_limit
      this.was = JSON.stringify(this.body)
      this.round += 1
    },
    effect(machine, way) {
      const own = Number(machine[`operator_cash_${way}_fee_fraction`])
      const platform = Number(this.fees[way] || 0)
      return `${this.fmt.percent(platform)} + ${this.fmt.percent(own)} = ${this.fmt.percent(platform + own)}`
    },
    save() {
      const wallet = this.wallets.find(one => one.value === this.wallet)
      this.$refs.action.open({
        title: this.t('platform.save_title'),
        lines: [
          this.t('platform.save_text', {
            out: this.fmt.percent(this.fees.out),
            in: this.fmt.percent(this.fees.in)
          }),
          wallet
            ? this.t('platform.save_wallet', {wallet: wallet.label})
            : this.t('platform.no_wallet')
        ],
        ok: this.t('common.save'),
        run: async () => {
          this.show(await satmachine.api.put('/super/config', this.body))
          return this.t('platform.saved')
        }
      })
    }
  }
})
