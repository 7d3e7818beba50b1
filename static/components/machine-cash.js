// What is in one machine: the book's figure, its places, how long they last.
satmachine.component('machine-cash', {
  mixins: [satmachine.autoReload],
  props: {machine: {type: Object, required: true}},
  data() {
    return {places: [], bays: []}
  },
  computed: {
    inside() {
      const sum = this.places.reduce((all, {amount}) => all + Number(amount), 0)
      return this.fmt.fiat(Math.max(0, sum), this.machine.fiat_code)
    },
    soonest() {
      return this.bays.find(({days_left}) => days_left !== null)
    },
    lasts() {
      if (!this.soonest) return this.t('cash.unknown_days')
      const bay = this.placeName(this.soonest.place)
      const days = this.days(this.soonest.days_left)
      const history = this.days(this.soonest.history_days)
      return [
        `${bay}: ${this.t('cash.days_left', {days})}`,
        this.t('cash.history', {days: history})
      ].join(', ')
    },
    all() {
      const query = {show: 'movements', machine_id: this.machine.id}
      return {path: '/satmachineadmin/cash', query}
    }
  },
  methods: {
    async load(api) {
      const id = this.machine.id
      const [cash, plan] = await Promise.all([
        api.get('/cash', {machine_id: id}),
        api.get('/cash/plan', {machines: id})
      ])
      return () => {
        this.places = cash.data
        this.bays = plan.bays
      }
    },
    days(n) {
      return this.t('cash.days', {n: this.fmt.number(n)}, Math.ceil(n))
    }
  }
})
