// Registers a machine, or edits one: open() or open(machine).
;(() => {
  const LIMITS = ['min_payout_sats', 'max_payout_sats', 'max_daily_payout_sats']
  const NEW = {
    machine_npub: '',
    name: '',
    location: '',
    wallet_id: null,
    fiat_code: null
  }
  // In the machine's currency: fees of each trade, and limits, which may be empty.
  const FIAT = {
    operator_cash_out_fixed_fee: 'fixed_out',
    operator_cash_in_fixed_fee: 'fixed_in',
    min_fiat: 'least',
    max_fiat: 'most'
  }
  // Whose notes a machine here has most likely: by the place that names the time zone,
  // then by the browser's region. Nobody's currency is guessed beyond these.
  const ZONES = {
    America: {
      Guatemala: 'GTQ',
      El_Salvador: 'USD',
      Tegucigalpa: 'HNL',
      Managua: 'NIO',
      Costa_Rica: 'CRC',
      Mexico_City: 'MXN',
      Bogota: 'COP',
      Lima: 'PEN',
      Santiago: 'CLP',
      Sao_Paulo: 'BRL',
      'Argentina/Buenos_Aires': 'ARS'
    }
  }
  const REGIONS = {
    GT: 'GTQ',
    SV: 'USD',
    HN: 'HNL',
    NI: 'NIO',
    CR: 'CRC',
    MX: 'MXN',
    CO: 'COP',
    PE: 'PEN',
    CL: 'CLP',
    AR: 'ARS',
    BR: 'BRL',
    US: 'USD',
    CA: 'CAD',
    GB: 'GBP',
    CH: 'CHF',
    IN: 'INR',
    NZ: 'NZD',
    AU: 'AUD',
    JP: 'JPY',
    ES: 'EUR',
    DE: 'EUR',
    FR: 'EUR',
    IT: 'EUR',
    AT: 'EUR',
    NL: 'EUR',
    PT: 'EUR',
    IE: 'EUR',
    BE: 'EUR'
  }
  function likelyCurrency({machines, zone}) {
    const [newest] = [...machines].sort((a, b) =>
      a.created_at < b.created_at ? 1 : -1
    )
    const [continent, ...place] = (zone || '').split('/')
    const region = (navigator.language || '').split('-')[1]
    return (
      newest?.fiat_code ||
      ZONES[continent]?.[place.join('/')] ||
      REGIONS[region] ||
      null
    )
  }
  const isLimit = name => name.endsWith('_fiat')

  satmachine.component('machine-form', {
    mixins: [satmachine.saving],
    emits: ['saved'],
    data() {
      return {
        shown: false,
        machine: null,
        form: {...NEW},
        fees: {out: '0.0000', in: '0.0000'},
        limits: LIMITS,
        lowCash: '',
        cash: {},
        currencies: []
      }
    },
    computed: {
      // What is charged, and where it goes, is the operator's alone to set.
      inFiat() {
        const all = Object.entries(FIAT)
        return Object.fromEntries(
          all.filter(([name]) => !this.acting || isLimit(name))
        )
      },
      title() {
        return this.machine ? this.t('machine.edit') : this.t('machines.add')
      },
      wallets() {
        return this.g.user.wallets
          .filter(wallet => wallet.walletType === 'lightning')
          .map(({id, name, sat}) => ({
            value: id,
            label: `${name} (${this.fmt.sats(sat)})`
          }))
      },
      intervals() {
        return [0, 60, 360, 1440].map(value => ({
          value,
          label: this.t(`machine.interval_${value}`)
        }))
      }
    },
    methods: {
      open(machine = null) {
        this.machine = machine
        this.form = machine ? {...machine} : {...NEW}
        if (!machine) {
          const used = this.store.machines.map(one => one.wallet_id)
          const free = this.wallets.find(one => !used.includes(one.value))
          this.form.wallet_id = free ? free.value : null
          this.form.fiat_code = likelyCurrency(this.store)
        }
        this.fees = {
          out: machine?.operator_cash_out_fee_fraction || '0.0000',
          in: machine?.operator_cash_in_fee_fraction || '0.0000'
        }
        this.cash = Object.fromEntries(
          Object.keys(FIAT).map(name => [
            name,
            machine?.[name] ?? (isLimit(name) ? '' : '0.00')
          ])
        )
        this.lowCash = this.fmt.toPercent(machine?.low_cash_fraction)
        this.failure = ''
        this.shown = true
      },
      required(value) {
        return !!value || this.t('common.required')
      },
      sats(value) {
        return this.fmt.toSats(value) !== null || this.t('common.not_sats')
      },
      percent(value) {
        const fraction = this.fmt.toFraction(value)
        return (
          (fraction !== null && Number(fraction) <= 1) || this.t('fees.invalid')
        )
      },
      fiat(value, name) {
        if (isLimit(name) && !value) return true
        return this.fmt.amountProblem(value, this.form.fiat_code) || true
      },
      factor(value) {
        const read = this.fmt.toRate(value)
        return (
          (read !== null && Number(read) <= 100) ||
          this.t('machine.market_factor_invalid')
        )
      },
      validKey(value) {
        if (/^nsec1/i.test(value)) return this.t('machine.secret_key')
        return (
          /^(npub1[a-z0-9]{58}|[0-9a-f]{64})$/i.test(value) ||
          this.t('machine.npub_invalid')
        )
      },
      filterCurrencies(typed, update) {
        const all = this.g.allowedCurrencies?.length
          ? this.g.allowedCurrencies
          : this.g.currencies
        const wanted = typed.toUpperCase()
        update(() => {
          this.currencies = all
            .filter(code => /^[A-Z]{3}$/.test(code))
            .filter(code => code.includes(wanted))
        })
      },
      scan() {
        this.g.scanner = text => {
          this.form.machine_npub = text.replace(/^nostr:/i, '').trim()
        }
      },
      body() {
        const body = {
          ...this.form,
          operator_cash_out_fee_fraction: this.fees.out,
          operator_cash_in_fee_fraction: this.fees.in
        }
        Object.entries(this.cash).forEach(([name, typed]) => {
          body[name] = typed
            ? this.fmt.toAmount(typed, this.form.fiat_code)
            : null
        })
        if (!this.machine) return body
        LIMITS.forEach(name => (body[name] = this.fmt.toSats(body[name])))
        if ('silent_after_minutes' in body) {
          body.silent_after_minutes = this.fmt.toSats(body.silent_after_minutes)
          body.low_cash_fraction = this.fmt.toFraction(this.lowCash)
        }
        return body
      },
      save() {
        return this.send(async () => {
          const {api, live} = satmachine
          const saved = this.machine
            ? await api.put(`/machines/${this.machine.id}`, this.body())
            : await api.post('/machines', this.body())
          await live.loadMachines()
          this.shown = false
          this.say(this.t('machine.saved', {name: saved.name}))
          this.$emit('saved', saved)
        })
      }
    }
  })
})()
