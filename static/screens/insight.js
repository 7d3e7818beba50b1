// What earns, where, when, and what is it worth: for each role the reader has. Range
// and machine are in the address.
;(() => {
  const asText = (name, usual) => ({
    get() {
      return this.$route.query[name] ?? usual.call(this)
    },
    set(value) {
      const query = {...this.$route.query, [name]: value || ''}
      if (!value || value === usual.call(this)) delete query[name]
      this.$router.replace({query, hash: this.$route.hash})
    }
  })
  const DAY_MS = 86400000
  const USUAL_DAYS = 30

  satmachine.component('screen-insight', {
    computed: {
      days: satmachine.inAddress('days', 90),
      machine: asText('machine', () => ''),
      desk() {
        return this.me.operator || this.me.super
      },
      machines() {
        return this.machineOptions()
      },
      everywhere() {
        return !!this.me.super && this.store.all
      },
      usual() {
        const to = this.fmt.today()
        const first = Date.parse(to) - (USUAL_DAYS - 1) * DAY_MS
        return {from: new Date(first).toISOString().slice(0, 10), to}
      },
      between: {
        get() {
          const {from, to} = this.$route.query
          return {from: from ?? this.usual.from, to: to ?? this.usual.to}
        },
        set(between) {
          const query = {...this.$route.query, ...between}
          this.$router.replace({query, hash: this.$route.hash})
        }
      },
      usable() {
        const {from, to} = this.between
        return !!from && !!to && from <= to
      }
    }
  })
})()
