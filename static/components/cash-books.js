// Cash by place in a period: opening, in, out, differences, closing.
satmachine.component('cash-books', {
  mixins: [satmachine.autoReload],
  props: {
    between: {type: Object, required: true},
    machine: {type: String, default: null},
    everywhere: Boolean
  },
  data() {
    return {rows: []}
  },
  computed: {
    query() {
      return {
        ...this.between,
        machine_id: this.machine,
        scope: this.everywhere ? 'all' : ''
      }
    },
    columns() {
      return ['opening', 'in', 'out', 'differences', 'closing'].map(name => ({
        name,
        label: this.t(`cash.${{in: 'came_in', out: 'went_out'}[name] || name}`)
      }))
    },
    csvUrl() {
      return satmachine.api.url('/cash/books.csv', {
        ...this.query,
        ...satmachine.forPeople(this.$i18n.locale)
      })
    }
  },
  watch: {
    query() {
      this.reload(true)
    }
  },
  methods: {
    async load(api) {
      const kept = Object.entries(this.query).filter(([, value]) => value)
      const answer = await api.get('/cash/books', Object.fromEntries(kept))
      return () => (this.rows = answer.data)
    },
    name({place, machine}) {
      const of = this.placeName(place)
      return machine ? `${machine}: ${of}` : of
    },
    fiat(amount, {currency}) {
      return this.fmt.fiat(amount, currency)
    }
  }
})
