satmachine.component('screen-platform', {
  mixins: [satmachine.autoReload],
  data() {
    return {overview: null}
  },
  computed: {
    days: satmachine.inAddress('days', 30),
    tiles() {
      const sum = this.overview.totals || this.overview
      const fiats = sums =>
        Object.entries(sums || {})
          .map(([code, one]) => this.fmt.fiat(one, code))
          .join(' + ')
      const tile = (key, value, notes) =>
        value !== undefined && {label: this.t(`platform.${key}`), value, notes}
      return [
        tile(
          'cash_out',
          this.fmt.sats(sum.cash_out_sats),
          fiats(sum.cash_out_fiat)
        ),
        tile(
          'cash_in',
          this.fmt.sats(sum.cash_in_sats),
          fiats(sum.cash_in_fiat)
        ),
        tile('platform_fees', this.fmt.sats(sum.platform_fee_sats)),
        tile('operator_fees', this.fmt.sats(sum.operator_fee_sats)),
        tile('paid_to_lps', this.fmt.sats(sum.paid_to_lps_sats)),
        this.overview.operators !== undefined &&
          tile('operators', this.fmt.number(this.overview.operators), [
            this.t('platform.counts', {
              machines: this.fmt.number(this.overview.machines),
              lps: this.fmt.number(this.overview.lps)
            })
          ])
      ].filter(Boolean)
    },
    labels() {
      return this.overview.series.map(({date}) => this.fmt.day(date))
    },
    sets() {
      const set = (label, field, colour) => ({
        label: this.t(label),
        data: this.overview.series.map(day => day[field] || 0),
        colour
      })
      return [
        set('overview.cash_out', 'cash_out_sats', 'primary'),
        set('overview.cash_in', 'cash_in_sats', 'second')
      ]
    },
    columns() {
      const percent = {right: true, format: value => this.fmt.percent(value)}
      const col = (name, extra) => ({
        name,
        label: this.t(`platform.${name}`),
        sortable: true,
        ...extra
      })
      return [
        col('name'),
        col('status'),
        col('fiat_code'),
        col('operator_cash_out_fee_fraction', percent),
        col('operator_cash_in_fee_fraction', percent),
        col('last_seen_at', {format: value => this.fmt.ago(value)})
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
      const overview = await api.get('/super/overview', {
        days: this.days,
        tz: this.store.zone
      })
      return () => (this.overview = overview)
    },
    statusOf(machine) {
      return satmachine.machineStatus(machine)
    }
  }
})
