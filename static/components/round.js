// A collector's page: their machines, and one button at each.
satmachine.component('round', {
  mixins: [satmachine.autoReload],
  data() {
    return {machines: [], places: []}
  },
  computed: {
    cards() {
      return this.machines.map(machine => ({
        machine,
        rows: this.places.filter(row => row.machine_id === machine.id),
        status: this.statusOf(machine)
      }))
    }
  },
  methods: {
    async load(api) {
      const [machines, cash] = await Promise.all([
        api.all('/machines', {sortby: 'name', direction: 'asc'}),
        api.get('/cash')
      ])
      return () => {
        this.machines = machines
        this.places = cash.data
      }
    },
    // Of one that never said a word it is not known whether it should have.
    statusOf({is_active, last_seen_at, status}) {
      if (!is_active) return 'inactive'
      return last_seen_at ? status : ''
    },
    seen({last_seen_at}) {
      if (!last_seen_at) return ''
      return this.t('machine.seen', {ago: this.fmt.ago(last_seen_at)})
    }
  }
})
