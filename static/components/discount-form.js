// A new code, or another share, other days and limits of one: open() or open(discount).
// What is not touched is not sent: a moment that another set is kept to the second.
;(() => {
  // Which field of the form each of the API's is typed in, where the names differ.
  const TYPED = {fraction: 'share', valid_from: 'from', valid_until: 'until'}
  const COUNTS = ['max_uses', 'max_uses_a_day']

  satmachine.component('discount-form', {
    mixins: [satmachine.saving],
    props: {platform: Boolean},
    emits: ['saved'],
    data() {
      return {shown: false, discount: null, form: {}, was: {}, counts: COUNTS}
    },
    computed: {
      title() {
        return this.discount
          ? this.t('discounts.change_title', {code: this.discount.code})
          : this.t('discounts.add')
      },
      path() {
        return this.platform ? '/super/discounts' : '/discounts'
      }
    },
    methods: {
      open(discount = null) {
        this.discount = discount
        const {toPercent, firstDay, lastDay} = this.fmt
        this.form = {
          code: discount?.code || '',
          share: discount ? toPercent(discount.fraction) : '',
          from: firstDay(discount?.valid_from),
          until: lastDay(discount?.valid_until),
          machine_ids: discount?.machine_ids || null,
          max_uses: String(discount?.max_uses ?? ''),
          max_uses_a_day: String(discount?.max_uses_a_day ?? '')
        }
        this.was = {...this.form}
        this.failure = ''
        this.shown = true
      },
      code(value) {
        return (
          /^[a-z0-9]{4,24}$/i.test(value?.trim()) ||
          this.t('discounts.code_invalid')
        )
      },
      share(value) {
        const fraction = Number(this.fmt.toFraction(value) ?? 0)
        return (
          (fraction > 0 && fraction <= 1) || this.t('discounts.share_invalid')
        )
      },
      count(value) {
        return !value || this.fmt.toSats(value) > 0 || this.t('common.not_sats')
      },
      after(value) {
        const {from} = this.form
        return (
          !value || !from || value >= from || this.t('discounts.until_invalid')
        )
      },
      body() {
        const {form, was, fmt} = this
        const read = {
          code: () => form.code.trim(),
          fraction: () => fmt.toFraction(form.share),
          valid_from: () => (form.from ? fmt.startOf(form.from) : null),
          // the day that is named counts, to its end
          valid_until: () => (form.until ? fmt.endOf(form.until) : null),
          machine_ids: () => form.machine_ids
        }
        COUNTS.forEach(name => {
          read[name] = () => (form[name] ? fmt.toSats(form[name]) : null)
        })
        const isTouched = name => {
          const key = TYPED[name] || name
          return JSON.stringify(form[key]) !== JSON.stringify(was[key])
        }
        return Object.fromEntries(
          Object.entries(read)
            .filter(([name]) => !this.discount || isTouched(name))
            .map(([name, value]) => [name, value()])
        )
      },
      save() {
        return this.send(async () => {
          const {api} = satmachine
          const saved = this.discount
            ? await api.put(`${this.path}/${this.discount.id}`, this.body())
            : await api.post(this.path, this.body())
          this.shown = false
          this.say(this.t('discounts.saved', {code: saved.code}))
          this.$emit('saved', saved)
        })
      }
    }
  })
})()
