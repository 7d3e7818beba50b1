satmachine.component('screen-dca', {
  mixins: [satmachine.autoReload],
  data() {
    return {profile: null, machines: [], series: []}
  },
  computed: {
    days: satmachine.inAddress('days', 30),
    modeText() {
      const {default_dca_mode, fixed_mode_daily_limit} = this.profile
      const parts = [this.words('dca_mode', default_dca_mode)]
      if (default_dca_mode === 'fixed' && fixed_mode_daily_limit) {
        const amount = this.fmt.number(fixed_mode_daily_limit)
        const codes = this.machines.map(({currency}) => currency)
        const limit = [amount, [...new Set(codes)].join(' / ')]
        parts.push(this.t('dca.a_day', {limit: limit.join(' ').trim()}))
      }
      const wallet = this.g.user.wallets.find(
        one => one.id === this.profile.dca_wallet_id
      )
      if (wallet) parts.push(this.t('dca.into', {wallet: wallet.name}))
      if (this.profile.autoforward_enabled) {
        const address = this.profile.autoforward_ln_address
        parts.push(this.t('dca.forwards', {address}))
      }
      return parts.join(' · ')
    },
    remaining() {
      const sums = {}
      this.machines.forEach(({currency, remaining}) => {
        sums[currency] = (sums[currency] || 0) + Math.round(remaining * 100)
      })
      return Object.entries(sums)
        .map(([code, cents]) => this.fmt.fiat(cents / 100, code))
        .join(' + ')
    },
    tiles() {
      const sum = field =>
        this.machines.reduce((all, one) => all + (one[field] || 0), 0)
      return [
        {label: this.t('dca.remaining'), value: this.remaining},
        {
          label: this.t('dca.sats_received'),
          value: this.fmt.sats(sum('sats_received'))
        },
        {
          label: this.t('dca.sats_on_the_way'),
          value: this.fmt.sats(sum('sats_on_the_way')),
          notes: this.t('dca.on_the_way_note')
        }
      ]
    },
    labels() {
      return this.series.map(({date}) => this.fmt.day(date))
    },
    sets() {
      const daily = this.series.map(({sats}) => sats || 0)
      const all = this.series.map(({total}) => total)
      return [
        {
          label: this.t('dca.total'),
          data: all,
          type: 'line',
          colour: 'primary'
        },
        {label: this.t('dca.per_day'), data: daily, colour: 'second'}
      ]
    }
  },
  watch: {
    days() {
      this.reload(true)
    }
  },
  unmounted() {
    clearTimeout(this.soon)
  },
  methods: {
    async load(api) {
      if (!this.me.lp) return () => (this.profile = null)
      const [profile, summary, history] = await Promise.all([
        api.get('/lp'),
        api.get('/lp/summary'),
        api.get('/lp/history', {
          range: this.days ? `${this.days}d` : 'all',
          tz: this.store.zone
        })
      ])
      return () => {
        this.profile = profile
        this.machines = summary
        this.store.lpMachines = summary.map(
          ({machine_id, machine, currency}) => ({
            id: machine_id,
            name: machine,
            fiat_code: currency
          })
        )
        this.series = this.byDay(history)
        this.lookAgain()
      }
    },
    // LNbits is asked for a price in the background: it is there a moment later.
    lookAgain() {
      clearTimeout(this.soon)
      if (!this.machines.some(one => one.price_is_asked)) return
      this.soon = setTimeout(() => this.reload(true), 3000)
    },
    // One number a day, whatever machines and currencies it came from, and the
    // sum until then: what was received before the period is part of it.
    byDay(rows) {
      const DAY = 86400000
      const days = new Map()
      const today = Math.floor(Date.parse(this.fmt.today()) / DAY)
      const first = rows.length
        ? Math.floor(Date.parse(rows[0].date) / DAY)
        : today
      const start = this.days ? today - this.days + 1 : first
      for (let day = start; day <= today; day++) {
        days.set(new Date(day * DAY).toISOString().slice(0, 10), 0)
      }
      rows.forEach(({date, sats}) => {
        days.set(date, (days.get(date) || 0) + (sats || 0))
      })
      const received = this.machines.map(({sats_received}) => sats_received)
      let total = rows.length
        ? rows[0].cumulative_sats - rows[0].sats
        : received.reduce((all, sats) => all + sats, 0)
      return [...days].map(([date, sats]) => {
        total += sats
        return {date, sats, total}
      })
    },
    // Cash that was handed over and that nobody recorded.
    claim() {
      const enrolled = this.machines.filter(one => one.machine_id)
      this.$refs.action.open({
        title: this.t('claimed.title'),
        lines: this.t('claimed.text'),
        ok: this.t('claimed.open'),
        once: 'recorded',
        fields: [
          {
            name: 'machine_id',
            type: 'select',
            label: this.t('claimed.machine'),
            value: enrolled.length === 1 ? enrolled[0].machine_id : null,
            options: enrolled.map(one => ({
              value: one.machine_id,
              label: one.machine
            })),
            required: true
          },
          {
            name: 'amount',
            type: 'amount',
            label: this.t('claimed.amount'),
            suffix: ({machine_id}) => this.currencyOf(machine_id),
            required: true
          },
          {name: 'notes', type: 'long', label: this.t('claimed.notes')}
        ],
        run: async (values, idempotency_key) => {
          const body = {...values, notes: values.notes || null, idempotency_key}
          const made = await satmachine.api.post('/lp/deposits', body)
          const amount = this.fmt.fiat(made.amount, made.currency)
          return this.t('claimed.done', {amount})
        }
      })
    },
    async saved() {
      await satmachine.live.loadMe()
      this.reload(true)
    }
  }
})
