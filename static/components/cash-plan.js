// A round of refills: what to bring and to fetch, the most urgent first.
satmachine.component('cash-plan', {
  mixins: [satmachine.autoReload],
  data() {
    return {plan: null, chosen: null}
  },
  computed: {
    sheet() {
      return satmachine.api.page('/cash/plan/print', {
        lang: this.$i18n.locale,
        tz: this.store.zone,
        machines: this.chosen
      })
    },
    sums() {
      return Object.entries(this.plan.bring).flatMap(([currency, notes]) =>
        Object.entries(notes)
          .filter(([, count]) => count > 0)
          .map(
            ([note, count]) => `${this.fmt.number(count)} × ${note} ${currency}`
          )
      )
    }
  },
  watch: {
    chosen() {
      this.reload(true)
    }
  },
  methods: {
    async load(api) {
      const plan = await api.get('/cash/plan', {machines: this.chosen})
      return () => (this.plan = plan)
    },
    lasts({days_left, history_days}) {
      if (days_left === null) return this.t('cash.unknown_days')
      const history = this.t('cash.history', {days: this.days(history_days)})
      return `${this.days(days_left)}, ${history}`
    },
    days(n) {
      return this.t('cash.days', {n: this.fmt.number(n)}, Math.ceil(n))
    },
    place(place) {
      return this.placeName(place)
    },
    bay({denomination, currency, holds, bring}) {
      return {
        note: `${this.fmt.number(denomination)} ${currency}`,
        holds: `${this.t('cash.holds')} ${this.fmt.number(holds)}`,
        bring: `${this.t('cash.bring')} ${this.fmt.number(bring)}`
      }
    },
    box(box) {
      const amount = this.fmt.fiat(box.amount, box.currency)
      if (box.days_left === null) return amount
      const days = this.days(box.days_left)
      return `${amount}, ${this.t('cash.days_full', {days})}`
    }
  }
})
