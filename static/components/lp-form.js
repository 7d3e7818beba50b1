// The LP's own choices: onboarding with open(), settings with open(profile).
satmachine.component('lp-form', {
  mixins: [satmachine.saving],
  emits: ['saved'],
  data() {
    return {shown: false, profile: null, form: {}}
  },
  computed: {
    title() {
      return this.profile ? this.t('lp.settings') : this.t('lp.start')
    },
    wallets() {
      return this.g.user.wallets
        .filter(wallet => wallet.walletType === 'lightning')
        .map(({id, name}) => ({value: id, label: name}))
    }
  },
  methods: {
    open(profile = null) {
      this.profile = profile
      this.form = profile
        ? {...profile}
        : {
            dca_wallet_id: this.wallets[0]?.value || null,
            default_dca_mode: 'flow',
            fixed_mode_daily_limit: '',
            autoforward_enabled: false,
            autoforward_ln_address: '',
            notify_payouts: false
          }
      this.failure = ''
      this.asked = satmachine.asksReceiver(
        this.t(profile ? 'common.save' : 'lp.start')
      )
      this.shown = true
    },
    required(value) {
      return !!value || this.t('common.required')
    },
    amount(value) {
      const found = this.fmt.toAmount(value)
      if (found === null) return this.fmt.amountProblem(value)
      return Number(found) > 0 || this.t('common.not_an_amount')
    },
    address(value) {
      return /^[^\s@]+@[^\s@]+$/.test(value) || this.t('lp.address_invalid')
    },
    body() {
      const form = this.form
      const fixed = form.default_dca_mode === 'fixed'
      return {
        dca_wallet_id: form.dca_wallet_id,
        default_dca_mode: form.default_dca_mode,
        fixed_mode_daily_limit: fixed
          ? this.fmt.toAmount(form.fixed_mode_daily_limit)
          : null,
        autoforward_enabled: form.autoforward_enabled,
        autoforward_ln_address: form.autoforward_ln_address || null,
        notify_payouts: form.notify_payouts
      }
    },
    save() {
      return this.send(async () => {
        const {api} = satmachine
        const way = this.profile ? api.put : api.post
        const body = this.body()
        const saved = await this.asked(body, must =>
          way('/lp', {...body, ...must})
        )
        this.shown = false
        this.say(this.t('lp.saved'))
        this.$emit('saved', saved)
      })
    }
  }
})
