// Chooses the period of the printable statement.
satmachine.component('statement', {
  data() {
    return {shown: false, between: satmachine.thisMonth()}
  },
  computed: {
    address() {
      const query = new URLSearchParams({
        ...this.between,
        lang: this.$i18n.locale,
        tz: this.store.zone
      })
      return `/satmachineadmin/dca/statement?${query}`
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
