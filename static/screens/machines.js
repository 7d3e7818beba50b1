satmachine.component('screen-machines', {
  mixins: [satmachine.autoReload],
  data() {
    return {machines: [], total: 0, search: '', sort: 'name', limit: 24}
  },
  computed: {
    sorts() {
      return ['name', '-created_at'].map(value => ({
        value,
        label: this.t(`machines.sort_${value.replace('-', '')}`)
      }))
    },
    asked() {
      return {search: this.search, sort: this.sort, limit: this.limit}
    }
  },
  watch: {
    asked() {
      this.reload(true)
    }
  },
  methods: {
    async load(api) {
      const page = await api.get('/machines', {
        limit: this.limit,
        sortby: this.sort.replace('-', ''),
        direction: this.sort.startsWith('-') ? 'desc' : 'asc',
        ...(this.search ? {search: this.search} : {})
      })
      return () => {
        this.machines = page.data
        this.total = page.total
      }
    },
    async added(machine) {
      await satmachine.live.loadMe()
      this.reload(true)
      if (!machine.is_paired) this.$refs.pairing.open(machine)
    }
  }
})
