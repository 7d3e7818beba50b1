// The books of a period as one CSV file: settlements, legs and fees.
satmachine.component('accounting', {
  data() {
    return {between: satmachine.thisMonth(), machine: null}
  },
  computed: {
    machines() {
      return this.machineOptions()
    },
    everywhere() {
      return this.me.super && this.store.all
    },
    usable() {
      const {from, to} = this.between
      return !!from && !!to && from <= to
    },
    address() {
      return satmachine.api.url('/accounting.csv', {
        ...this.between,
        machine_id: this.machine,
        scope: this.everywhere ? 'all' : '',
        ...satmachine.forPeople(this.$i18n.locale)
      })
    }
  }
})
