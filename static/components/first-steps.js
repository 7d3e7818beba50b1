// What is still to do at the beginning, for an operator, an LP or the super. Each step
// is done by itself when it is; when all are, or when it was put away on this device,
// it is not shown.
;(() => {
  const KEPT = 'satmachine.steps.hidden'
  const BASE = '/satmachineadmin/'

  satmachine.component('first-steps', {
    mixins: [satmachine.autoReload],
    props: {
      role: {type: String, required: true},
      // What the page knows already: {machines, sales}
      facts: {type: Object, default: () => ({})}
    },
    data() {
      const hidden = (localStorage.getItem(KEPT) || '').split(' ')
      return {found: null, hidden}
    },
    computed: {
      // One browser may be several people's.
      mark() {
        return `${this.role}:${(this.me.user_id || '').slice(0, 6)}`
      },
      steps() {
        return this.found ? this[this.role]() : []
      },
      open() {
        return this.steps.filter(({done}) => !done)
      },
      shown() {
        return this.open.length > 0 && !this.hidden.includes(this.mark)
      },
      countText() {
        return this.t('steps.count', {
          done: this.fmt.number(this.steps.length - this.open.length),
          all: this.fmt.number(this.steps.length)
        })
      }
    },
    methods: {
      async load(api) {
        if (this.acting || this.hidden.includes(this.mark)) return
        const found = await this[`ask_${this.role}`](api)
        return () => (this.found = found)
      },
      async ask_operator(api) {
        const one = async path => (await api.get(path, {limit: 1})).total > 0
        const [splits, lps, deposits, sales] = await Promise.all([
          api.get('/splits').then(answer => answer.splits.length > 0),
          one('/clients'),
          one('/deposits'),
          one('/settlements')
        ])
        return {splits, lps, deposits, sales}
      },
      async ask_platform(api) {
        const [config, host] = await Promise.all([
          api.get('/super/config'),
          api.get('/super/host')
        ])
        return {config, host}
      },
      ask_lp() {
        return {}
      },
      step(name, done, to) {
        return {
          name,
          done: !!done,
          to: to && BASE + to,
          text: this.t(`steps.${this.role}.${name}`)
        }
      },
      operator() {
        const {machines} = this.store
        const {splits, lps, deposits, sales} = this.found
        const charges = one =>
          ['cash_in_fee_fraction', 'cash_out_fee_fraction']
            .map(name => Number(one[`operator_${name}`]))
            .some(fee => fee > 0)
        const isHeard = one => one.is_paired || one.last_settlement_at
        const wallets = this.g.user.wallets.filter(
          ({walletType}) => walletType === 'lightning'
        )
        return [
          this.step('wallet', wallets.length > 0),
          this.step('machine', machines.length > 0, 'machines'),
          this.step('pairing', machines.some(isHeard), 'machines'),
          this.step('fees', machines.some(charges), 'machines'),
          this.step('splits', splits, 'splits'),
          this.step('lp', lps, 'lps'),
          this.step('deposit', deposits, 'lps?show=deposits'),
          this.step('sale', sales, 'settlements')
        ]
      },
      platform() {
        const {config, host} = this.found
        const fees = [
          'super_cash_in_fee_fraction',
          'super_cash_out_fee_fraction'
        ]
        const isSet = fees.some(name => Number(config[name]) > 0)
        const steps = [
          this.step('fees', isSet, 'platform#fees'),
          this.step('wallet', config.super_fee_wallet_id, 'platform#fees'),
          this.step('relays', this.me.relays.length > 0, 'platform')
        ]
        if (host.offered || host.applied) {
          steps.push(this.step('host', host.applied, 'platform'))
        }
        return steps
      },
      lp() {
        const {machines} = this.facts
        const has = name => machines.some(one => Number(one[name]) > 0)
        return [
          this.step('profile', this.me.lp),
          this.step('machine', machines.length > 0),
          this.step('deposit', has('deposited')),
          this.step('sats', has('sats_received'))
        ]
      },
      putAway() {
        this.hidden = [...this.hidden, this.mark]
        localStorage.setItem(KEPT, this.hidden.join(' ').trim())
      }
    }
  })
})()
