// What each payout interval would cost in payments a day, from the machine's own
// past, and the way to the one that is suggested.
satmachine.component('advice', {
  props: {machine: {type: Object, required: true}},
  emits: ['changed'],
  computed: {
    options() {
      const {options} = this.machine.payout_advice
      return options.map(({interval_minutes, payments_per_day}) => ({
        minutes: interval_minutes,
        interval: this.intervalText(interval_minutes),
        payments: this.paymentsText(payments_per_day),
        now: interval_minutes === this.machine.payout_interval_minutes
      }))
    },
    suggested() {
      const {suggested_interval_minutes} = this.machine.payout_advice
      const found = this.options.find(
        ({minutes}) => minutes === suggested_interval_minutes
      )
      return found && !found.now ? found : null
    },
    days() {
      const {days} = this.machine.payout_advice
      return this.t('advice.days', {n: this.fmt.number(days)}, days)
    }
  },
  methods: {
    paymentsText(count) {
      return this.t('advice.payments', {n: this.fmt.number(count)}, count)
    },
    use({minutes, interval, payments}) {
      const now = this.options.find(one => one.now)
      this.$refs.action.open({
        title: this.t('advice.use_title', {interval}),
        lines: this.t('advice.use_text', {payments, now: now.payments}),
        ok: this.t('advice.use', {interval}),
        run: async () => {
          const path = `/machines/${this.machine.id}`
          const change = {payout_interval_minutes: minutes}
          await satmachine.api.put(path, change)
          return this.t('advice.used', {interval})
        }
      })
    }
  }
})
