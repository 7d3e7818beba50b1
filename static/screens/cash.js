// Cash: what every place holds, what moved, who was there, what to bring.
satmachine.component('screen-cash', {
  mixins: [satmachine.autoReload],
  data() {
    return {
      places: [],
      totals: []
    }
  },
  computed: {
    shows() {
      return this.collects
        ? ['places', 'visits', 'plan']
        : ['places', 'movements', 'visits', 'plan']
    },
    show() {
      const {show} = this.$route.query
      return this.shows.includes(show) ? show : 'places'
    },
    machines() {
      const groups = new Map()
      this.places.forEach(row => {
        if (!row.machine_id) return
        if (!groups.has(row.machine_id)) groups.set(row.machine_id, [])
        groups.get(row.machine_id).push(row)
      })
      return [...groups].map(([id, rows]) => {
        const sum = rows.reduce((all, {amount}) => all + Number(amount), 0)
        const inside = this.fmt.fiat(Math.max(0, sum), rows[0].currency)
        return {id, rows, inside}
      })
    },
    currencies() {
      const known = this.totals.map(({currency}) => currency)
      const own = this.store.machines.map(({fiat_code}) => fiat_code)
      return [...new Set([...known, ...own])]
    },
    tiles() {
      return this.totals.flatMap(one => {
        const tile = (name, amount, notes = []) => ({
          key: one.currency + name,
          label: this.t(`cash.${name}`),
          value: this.fmt.fiat(amount, one.currency),
          notes
        })
        const held = this.handOf(one.currency)
        const hand = tile('hand', Math.max(0, held))
        if (one.hand_amount === null) hand.value = this.t('cash.hand_unknown')
        if (held < 0) hand.notes = this.t('cash.hand_below')
        const coverage = tile('coverage', 0, this.t('cash.coverage_note'))
        coverage.value =
          one.coverage === null
            ? this.t('cash.hand_unknown')
            : this.fmt.percent(one.coverage)
        return [
          tile('total', one.total_amount),
          tile('available', one.available_amount),
          hand,
          tile('owed', one.owed_amount),
          coverage
        ]
      })
    },
    movementColumns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`cash.${name}`),
        sortable: true,
        ...extra
      })
      return [
        col('at', {format: value => this.fmt.time(value)}),
        col('machine', {
          sortable: false,
          format: (_, row) => this.nameOf(row.machine_id)
        }),
        col('from_place', {format: this.place}),
        col('to_place', {format: this.place}),
        col('notes', {right: true, sortable: false, format: this.notes}),
        col('amount', {
          right: true,
          format: (amount, row) => this.fmt.fiat(amount, row.currency)
        }),
        col('reason', {sortable: false, format: this.reason})
      ]
    },
    visitColumns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`cash.${name}`),
        sortable: true,
        ...extra
      })
      return [
        col('opened_at', {format: value => this.fmt.time(value)}),
        col('machine', {
          sortable: false,
          format: (_, row) => this.nameOf(row.machine_id)
        }),
        col('status', {format: code => this.words('visit_status', code)}),
        col('closed_at', {format: value => this.fmt.time(value)}),
        col('difference_amount', {
          right: true,
          format: (amount, row) => this.fmt.fiat(amount, row.currency)
        })
      ]
    },
    movementFilters() {
      const names = ['hand', 'box', 'customer', 'bank', 'lp', 'difference']
      const options = names.map(value => ({value, label: this.place(value)}))
      return [
        this.machineFilter,
        {name: 'from_place', label: this.t('cash.from_place'), options},
        {name: 'to_place', label: this.t('cash.to_place'), options},
        {name: 'at', type: 'range'}
      ]
    },
    visitFilters() {
      return [
        this.machineFilter,
        {
          name: 'status',
          label: this.t('cash.status'),
          options: ['open', 'closed', 'cancelled'].map(value => ({
            value,
            label: this.words('visit_status', value)
          }))
        },
        {name: 'opened_at', type: 'range'}
      ]
    },
    machineFilter() {
      return {
        name: 'machine_id',
        label: this.t('cash.machine'),
        options: this.machineOptions()
      }
    }
  },
  methods: {
    async load(api) {
      const answer = await api.get('/cash')
      return () => {
        this.places = answer.data
        this.totals = answer.totals
      }
    },
    choose(show) {
      this.$router.push({query: show === 'places' ? {} : {show}})
    },
    // More went out of the hand than is known to have come in.
    handOf(currency) {
      const hand = this.places.find(
        row => row.place === 'hand' && row.currency === currency
      )
      return Number(hand?.amount ?? 0)
    },
    place(place) {
      return this.placeName(place)
    },
    nameOf(id) {
      return id ? this.machineName(id) : this.fmt.NOTHING
    },
    notes(_, {notes, denomination}) {
      if (!denomination) return this.fmt.NOTHING
      return `${this.fmt.number(notes)} × ${this.fmt.number(denomination)}`
    },
    reason(text, {source}) {
      return text ? this.localize(text) : this.words('cash_source', source)
    }
  }
})
