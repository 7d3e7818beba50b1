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
