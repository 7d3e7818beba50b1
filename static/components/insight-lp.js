// Am I ahead, and how long does my cash last? The price is asked for while this is
// open; until somebody answers it says so in words.
;(() => {
  const ASK_AGAIN_MS = 2500
  const AGAIN_MS = 60000

  satmachine.component('insight-lp', {
    mixins: [satmachine.autoReload],
    props: {days: {type: Number, default: 90}},
    data() {
      return {answer: null}
    },
    computed: {
      query() {
        const range = this.days ? `${this.days}d` : 'all'
        return {range, tz: this.store.zone}
      },
      csvUrl() {
        return satmachine.api.url('/lp/insight.csv', {
          ...this.query,
          ...satmachine.forPeople(this.$i18n.locale)
        })
      },
      columns() {
        return ['day', 'sats', 'cost', 'price', 'average_price', 'in_all'].map(
          name => ({name, label: this.t(`insight.${name}`)})
        )
      }
    },
    watch: {
      query() {
        this.reload(true)
      }
    },
    beforeUnmount() {
      clearTimeout(this.timer)
    },
    methods: {
      async load(api) {
        const answer = await api.get('/lp/insight', this.query)
        return () => {
          this.answer = answer
          const isAsking = answer.prices.some(one => one.is_asking)
          clearTimeout(this.timer)
          this.timer = setTimeout(
            () => this.reload(true),
            isAsking ? ASK_AGAIN_MS : AGAIN_MS
          )
        }
      },
      priceOf({currency}) {
        return this.answer.prices.find(one => one.currency === currency)
      },
      priceText(price, currency) {
        return this.t('dca.price', {price: this.fmt.fiat(price, currency)})
      },
      percent(share) {
        return this.fmt.number(share, {
          style: 'percent',
          maximumFractionDigits: 1,
          signDisplay: 'exceptZero'
        })
      },
      tilesOf(total) {
        const {currency} = total
        const fiat = amount => this.fmt.fiat(amount, currency)
        const {price, at, is_asking} = this.priceOf(total)
        const limit = this.answer.limits.find(x => x.currency === currency)
        const known = price !== null
        return [
          {
            label: this.t('insight.value'),
            value: known ? fiat(total.value) : this.fmt.NOTHING,
            notes: [
              this.fmt.sats(total.sats_received),
              known &&
                this.t('insight.gain_of', {
                  fiat: fiat(total.gain),
                  share: this.percent(total.gain_share)
                })
            ].filter(Boolean)
          },
          {
            label: this.t('insight.price_now'),
            value: known ? fiat(price) : this.t('insight.no_price'),
            notes: known
              ? this.fmt.ago(at)
              : this.t(is_asking ? 'insight.asking' : 'insight.no_price_text')
          },
          {
            label: this.t('insight.average_price'),
            value: fiat(total.average_price),
            notes: this.t('insight.paid_of', {fiat: fiat(total.cost)})
          },
          {
            label: this.t('insight.at_work'),
            value: fiat(total.at_work),
            notes: this.usedUp(total)
          },
          limit && {
            label: this.t('insight.limit_left'),
            value: fiat(limit.left),
            notes: this.t('insight.limit_of', {
              limit: fiat(limit.limit),
              zone: limit.time_zone
            })
          }
        ].filter(Boolean)
      },
      usedUp({used_up_on, days_left, used_a_day, currency}) {
        if (days_left === 0) return this.t('insight.used_up')
        if (!used_up_on) return this.t('insight.no_pace')
        return this.t('insight.used_up_on', {
          day: this.fmt.day(used_up_on),
          fiat: this.fmt.fiat(used_a_day, currency)
        })
      },
      sentenceOf(total) {
        const {currency, average_price} = total
        if (average_price === null) return this.t('insight.nothing_received')
        const {price} = this.priceOf(total)
        const average = this.fmt.fiat(average_price, currency)
        if (price === null) return this.t('insight.says_no_price', {average})
        const ahead = Number(total.gain) >= 0
        return this.t(`insight.says_${ahead ? 'ahead' : 'behind'}`, {
          average,
          price: this.fmt.fiat(price, currency),
          share: this.fmt.percent(Math.abs(total.gain_share || 0))
        })
      },
      daysOf({currency}) {
        return this.answer.days.filter(day => day.currency === currency)
      },
      setsOf(total) {
        const days = this.daysOf(total)
        const {price} = this.priceOf(total)
        const line = (name, colour, data) => ({
          label: this.t(`insight.${name}`),
          colour,
          data
        })
        return [
          line(
            'average_price',
            'primary',
            days.map(day => Number(day.average_price))
          ),
          line(
            'price',
            'second',
            days.map(day => Number(day.price))
          ),
          price !== null &&
            line(
              'price_now',
              'third',
              days.map(() => price)
            )
        ].filter(Boolean)
      },
      rowsOf(total) {
        const fiat = amount => this.fmt.fiat(amount, total.currency)
        return this.daysOf(total)
          .map(day => ({
            key: day.date,
            day: this.fmt.day(day.date),
            sats: this.fmt.sats(day.sats),
            cost: fiat(day.cost),
            price: fiat(day.price),
            average_price: fiat(day.average_price),
            in_all: this.fmt.sats(day.cumulative_sats)
          }))
          .reverse()
      }
    }
  })
})()
