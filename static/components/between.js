// Two days and the usual periods; `v-model` is {from, to}, both included.
;(() => {
  const two = number => String(number).padStart(2, '0')
  const text = date =>
    [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join(
      '-'
    )

  function periods() {
    // today where the reader is, as a day of this device's calendar
    const [y, m, d] = satmachine.format.today().split('-').map(Number)
    const now = new Date(y, m - 1, d)
    const year = now.getFullYear()
    const month = now.getMonth()
    const period = (key, from, to) => ({key, from: text(from), to: text(to)})
    return [
      period('this_month', new Date(year, month, 1), now),
      period(
        'last_month',
        new Date(year, month - 1, 1),
        new Date(year, month, 0)
      ),
      period('this_year', new Date(year, 0, 1), now)
    ]
  }

  satmachine.thisMonth = () => {
    const [{from, to}] = periods()
    return {from, to}
  }

  satmachine.component('between', {
    props: {modelValue: {type: Object, required: true}},
    emits: ['update:modelValue'],
    computed: {
      presets: periods
    },
    methods: {
      set(change) {
        this.$emit('update:modelValue', {...this.modelValue, ...change})
      }
    }
  })
})()
