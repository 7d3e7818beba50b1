satmachine.component('screen-overview', {
  mixins: [satmachine.autoReload],
  data() {
    return {overview: null, received: null, recent: [], fresh: new Set()}
  },
  computed: {
    days: satmachine.inAddress('days', 7),
    // As the server summed: the same day in the list that a sum opens.
    since() {
      return this.overview.series[0].date
    },
    tiles() {
      const sum = this.overview.totals
      const list = '/satmachineadmin/settlements'
      const from = this.since
      const counted = 'awaiting_dispense,pending,processing,completed,attention'
      const of = query => ({
        path: list,
        query: {from, status: counted, is_test: 'false', ...query}
      })
      return [
        {
          label: this.t('overview.cash_out'),
          value: this.fmt.sats(sum.cash_out_sats),
          notes: this.volumeNotes(sum.cash_out_fiat, sum.cash_out_count),
          to: of({tx_type: 'cash_out'})
        },
        {
          label: this.t('overview.cash_in'),
          value: this.fmt.sats(sum.cash_in_sats),
          notes: this.volumeNotes(sum.cash_in_fiat, sum.cash_in_count),
          to: of({tx_type: 'cash_in'})
        },
        {
          label: this.t('overview.your_fees'),
          value: this.fmt.sats(sum.operator_fee_sats),
          notes: this.arrived('fees_received_sats'),
          to: of({})
        },
        {
          label: this.t('overview.platform_fees'),
          value: this.fmt.sats(sum.platform_fee_sats),
          notes: this.arrived('platform_paid_sats'),
          to: of({})
        },
        {
          label: this.t('overview.paid_to_lps'),
          value: this.fmt.sats(sum.paid_to_lps_sats),
          to: {
            path: '/satmachineadmin/payments',
            query: {
              from,
              leg_type: 'dca,settlement',
              status: 'completed,skipped',
              is_test: 'false'
            }
          }
        },
        {
          label: this.t('overview.owed_to_lps'),
          value: this.fiats(sum.owed_to_lps_fiat),
          notes: this.t('overview.now'),
          to: '/satmachineadmin/lps'
        },
        {
          label: this.t('overview.cash_in_machines'),
          value: this.fiats(sum.cash_in_machines_fiat),
          notes: this.t('overview.now'),
          to: '/satmachineadmin/machines'
        }
      ]
    },
    labels() {
      return this.overview.series.map(({date}) => this.fmt.day(date))
    },
    volume() {
      return [
        this.set('overview.cash_out', 'cash_out_sats', 'primary'),
        this.set('overview.cash_in', 'cash_in_sats', 'second')
      ]
    },
    fees() {
      return [
        this.set('overview.your_fees', 'operator_fee_sats', 'primary'),
        this.set('overview.platform_fees', 'platform_fee_sats', 'third')
      ]
    }
  },
  watch: {
    days() {
      this.reload(true)
    }
  },
  methods: {
    async load(api) {
      const [overview, page] = await Promise.all([
        api.get('/overview', {days: this.days, tz: this.store.zone}),
        api.get('/settlements', {
          limit: 6,
          sortby: 'transaction_time',
          direction: 'desc'
        })
      ])
      return () => {
        const known = new Set(this.recent.map(row => row.id))
        this.fresh = new Set(
          known.size
            ? page.data.map(r => r.id).filter(id => !known.has(id))
            : []
        )
        this.overview = overview
        this.loadReceived(api)
        this.recent = page.data
      }
    },
    // What arrived in these days, of whatever sales. The page does not wait for it.
    async loadReceived(api) {
      const {series} = this.overview
      try {
        const {totals} = await api.get('/insight', {
          from: series[0].date,
          to: series[series.length - 1].date,
          tz: this.store.zone
        })
        this.received = totals
      } catch {
        this.received = null
      }
    },
    arrived(name) {
      if (!this.received) return []
      const sats = this.received.reduce((sum, one) => sum + one[name], 0)
      return this.t('overview.received', {sats: this.fmt.sats(sats)})
    },
    set(label, field, colour) {
      const data = this.overview.series.map(day => day[field] || 0)
      return {label: this.t(label), data, colour}
    },
    fiats(sums) {
      const parts = Object.entries(sums || {})
      if (!parts.length) return this.fmt.NOTHING
      return parts.map(([code, sum]) => this.fmt.fiat(sum, code)).join(' + ')
    },
    volumeNotes(sums, count) {
      const times = this.t('overview.times', {n: this.fmt.number(count)}, count)
      return Object.keys(sums || {}).length
        ? [this.fiats(sums), times]
        : [times]
    }
  }
})
