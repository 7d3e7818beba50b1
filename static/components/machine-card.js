// One machine at a glance: is it alive, what does it cost, has it cash.
satmachine.component('machine-card', {
  props: {machine: {type: Object, required: true}, alone: Boolean},
  emits: ['pair'],
  computed: {
    to() {
      return `/satmachineadmin/machines/${this.machine.id}`
    },
    // The super sees everybody's machines; their operators run them.
    theirs() {
      return !this.isOwn(this.machine.id)
    },
    status() {
      return satmachine.machineStatus(this.machine)
    },
    lastWord() {
      if (this.machine.last_seen_at) {
        const ago = this.fmt.ago(this.machine.last_seen_at)
        return this.t('machine.seen', {ago})
      }
      const keyed = this.status === 'keyed'
      return this.t(keyed ? 'machine.no_line' : 'machine.never_seen')
    },
    walletName() {
      const id = this.machine.wallet_id
      const wallet = this.g.user.wallets.find(one => one.id === id)
      if (this.acting) return this.t('team.operators_wallet')
      return wallet ? wallet.name : this.fmt.short(id)
    },
    balance() {
      const {balance_sats, free_balance_sats} = this.machine
      const isAllFree = balance_sats === free_balance_sats
      return this.t(isAllFree ? 'machine.all_free' : 'machine.balance', {
        balance: this.fmt.sats(balance_sats),
        free: this.fmt.sats(free_balance_sats)
      })
    },
    cash() {
      return this.machine.cash_fiat
        ? this.fmt.fiat(this.machine.cash_fiat, this.machine.fiat_code)
        : this.t('machine.cash_unknown')
    },
    soon() {
      return Number(this.machine.days_until_empty) < 2
    },
    emptyIn() {
      const days = this.machine.days_until_empty
      if (days === null || days === undefined) return ''
      if (days < 1) return this.t('machine.empty_today')
      const whole = Math.floor(days)
      return this.t('machine.empty_in', {n: this.fmt.number(whole)}, whole)
    }
  },
  methods: {
    feeText(way) {
      const own = this.machine[`operator_cash_${way}_fee_fraction`]
      const platform = this.machine[`platform_cash_${way}_fee_fraction`]
      const fees = this.t(this.acting ? 'fees.sum_theirs' : 'fees.sum', {
        platform: this.fmt.percent(platform),
        own: this.fmt.percent(own),
        sum: this.fmt.percent(Number(platform) + Number(own))
      })
      const {fiat_code, min_fiat, max_fiat} = this.machine
      const fixed = this.machine[`operator_cash_${way}_fixed_fee`]
      const money = amount => this.fmt.fiat(amount, fiat_code)
      return [
        Number(fixed)
          ? this.t('fees.with_fixed', {fees, fixed: money(fixed)})
          : fees,
        min_fiat && this.t('fees.from', {least: money(min_fiat)}),
        max_fiat && this.t('fees.up_to', {most: money(max_fiat)})
      ]
        .filter(Boolean)
        .join(', ')
    }
  }
})
