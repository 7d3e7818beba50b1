// Chooses the period of the printable statement.
satmachine.part('statement', {
  data() {
    return {shown: false, from: '', to: ''}
  },
  computed: {
    address() {
      const query = new URLSearchParams({
        from: this.from,
        to: this.to,
        lang: this.$i18n.locale
      })
      return `/satmachineadmin/dca/statement?${query}`
    },
    presets() {
      const now = new Date()
      const year = now.getFullYear()
      const month = now.getMonth()
      const preset = (key, from, to) => ({
        label: this.t(`statement.${key}`),
        from: this.text(from),
        to: this.text(to)
      })
      return [
        preset('this_month', new Date(year, month, 1), now),
        preset(
          'last_month',
          new Date(year, month - 1, 1),
          new Date(year, month, 0)
        ),
        preset('this_year', new Date(year, 0, 1), now)
      ]
    }
  },
  methods: {
    open() {
      this.use(this.presets[0])
      this.shown = true
    },
    use({from, to}) {
      this.from = from
      this.to = to
    },
    text(date) {
      const two = number => String(number).padStart(2, '0')
      return [
        date.getFullYear(),
        two(date.getMonth() + 1),
        two(date.getDate())
      ].join('-')
    }
  }
})
