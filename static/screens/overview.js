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
          notes: this.volumeNotes('cash_out'),
          to: of({tx_type: 'cash_out'})
        },
        {
          label: this.t('overview.cash_in'),
          value: this.fmt.sats(sum.cash_in_sats),
          notes: this.volumeNotes('cash_in'),
          to: of({tx_type: 'cash_in'})
        },
        {
          label: this.t('overview.your_fees'),
          value: this.fmt.sats(sum.operator_fee_sats),
          notes: [
            this.arrived('fees_received_sats'),
            this.corrects('operator_fee_sats')
          ],
          to: of({})
        },
        {
          label: this.t('overview.platform_fees'),
          value: this.fmt.sats(sum.platform_fee_sats),
          notes: [
            this.arrived('platform_paid_sats'),
            this.corrects('platform_fee_sats')
          ],
          to: of({})
        },
        {
          label: this.t('overview.paid_to_lps'),
          value: this.fmt.sats(sum.paid_to_lps_sats),
          to: {
            path: '/satmachineadmin/payments',
            query: {
              'paid_at[ge]': from,
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
      if (!this.received) return null
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
    volumeNotes(kind) {
      const {totals} = this.overview
      const sums = totals[`${kind}_fiat`]
      const count = totals[`${kind}_count`]
      const times = this.t('overview.times', {n: this.fmt.number(count)}, count)
      return [
        Object.keys(sums || {}).length && this.fiats(sums),
        times,
        this.corrects(`${kind}_sats`)
      ]
    },
    // What the list behind a sum has not: its sales were before these days.
    corrects(name) {
      const sats = this.overview.corrections[name]
      return sats && this.t('overview.corrects', {sats: this.fmt.sats(sats)})
    }
  }
})
