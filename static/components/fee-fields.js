// The two fractions of a fee, typed as percent. `platform` (fractions) adds
// what the customer will see in all.
;(() => {
  const MUCH = 0.15

  satmachine.component('fee-fields', {
    props: {
      modelValue: {type: Object, required: true},
      legend: String,
      platform: {type: Object, default: null}
    },
    emits: ['update:modelValue'],
    data() {
      const {toPercent} = satmachine.format
      return {
        typed: {
          out: toPercent(this.modelValue.out),
          in: toPercent(this.modelValue.in)
        }
      }
    },
    methods: {
      valid(text) {
        const fraction = this.fmt.toFraction(text)
        return (
          (fraction !== null && Number(fraction) <= 1) || this.t('fees.invalid')
        )
      },
      hint(way) {
        const own = this.fmt.toFraction(this.typed[way])
        if (!this.platform || own === null) return undefined
        const platform = this.platform[way]
        return this.t('fees.sum', {
          platform: this.fmt.percent(platform),
          own: this.fmt.percent(own),
          sum: this.fmt.percent(Number(platform) + Number(own))
        })
      },
      // Customers go elsewhere before they pay so much; and 60 is soon typed for 6.
      isMuch(way) {
        const own = this.fmt.toFraction(this.typed[way])
        const all = Number(own) + Number(this.platform?.[way] || 0)
        return own !== null && all > MUCH
      },
      tell() {
        this.$emit('update:modelValue', {
          out: this.fmt.toFraction(this.typed.out),
          in: this.fmt.toFraction(this.typed.in)
        })
      }
    }
  })
})()
