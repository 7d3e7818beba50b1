// What an LP has at work at one machine, and what it bought.
satmachine.component('lp-machine', {
  props: {one: {type: Object, required: true}},
  data() {
    return {
      signed: {
        style: 'percent',
        signDisplay: 'exceptZero',
        maximumFractionDigits: 1
      }
    }
  },
  computed: {
    coverage() {
      const {shows_coverage, coverage} = this.one
      if (!shows_coverage) return this.t('lp_coverage.hidden')
      if (coverage === null) return this.t('lp_coverage.not_counted')
      const share = this.fmt.percent(coverage)
      return this.t('lp_coverage.share', {share})
    },
    // Why nothing more comes today, or at all, though the machine sells.
    waits() {
      const {limit_today, currency, remaining, deposited, status} = this.one
      if (status !== 'active') return ''
      if (Number(remaining) <= 0) {
        return Number(deposited) > 0 ? this.t('dca.used_up') : ''
      }
      if (!limit_today || Number(limit_today.left) > 0) return ''
      const limit = this.fmt.fiat(limit_today.limit, currency)
      const time = this.fmt.time(limit_today.ends_at)
      return this.t('dca.limit_reached', {limit, time})
    },
    limitLeft() {
      const {limit_today, currency} = this.one
      if (!limit_today) return ''
      const [left, limit] = [limit_today.left, limit_today.limit].map(amount =>
        this.fmt.fiat(amount, currency)
      )
      return this.t('dca.limit_left_of', {left, limit})
    },
    priceNow() {
      const {price_now, price_is_asked} = this.one
      if (price_now) return this.price(price_now)
      return this.t(price_is_asked ? 'insight.asking' : 'insight.no_price')
    },
    used() {
      const deposited = Number(this.one.deposited)
      return deposited ? Number(this.one.paid_out) / deposited : 0
    },
    gain() {
      const paid = Number(this.one.average_price)
      const now = this.one.price_now
      const gain = paid && now ? now / paid - 1 : 0
      return Math.abs(gain) < 0.001 ? 0 : gain
    }
  },
  methods: {
    price(value) {
      return value
        ? this.t('dca.price', {price: this.fmt.fiat(value, this.one.currency)})
        : this.fmt.NOTHING
    }
  }
})
