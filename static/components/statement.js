// Chooses the period of the printable statement.
satmachine.component('statement', {
  data() {
    return {shown: false, between: satmachine.thisMonth()}
  },
  computed: {
    query() {
      return new URLSearchParams({
        ...this.between,
        lang: this.$i18n.locale,
        tz: this.store.zone
      })
    },
    address() {
      return `/satmachineadmin/dca/statement?${this.query}`
    },
    taxes() {
      return `/satmachineadmin/dca/statement.csv?${this.query}`
    },
    usable() {
      const {from, to} = this.between
      return !!from && !!to && from <= to
    }
  },
  methods: {
    open() {
      this.between = satmachine.thisMonth()
      this.shown = true
    }
  }
})
