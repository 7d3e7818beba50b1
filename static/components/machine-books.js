// Whether a machine's books agreed when they were last held against LNbits'.
satmachine.component('machine-books', {
  mixins: [satmachine.autoReload],
  props: {machine: {type: Object, required: true}},
  data() {
    return {newest: null}
  },
  computed: {
    reports() {
      return {
        path: '/satmachineadmin/books',
        query: {machine_id: this.machine.id}
      }
    }
  },
  methods: {
    async load(api) {
      const params = {machine_id: this.machine.id, limit: 1}
      const page = await api.get('/reconciliations', params)
      return () => (this.newest = page.data[0])
    }
  }
})
