// What is in each bay, as the operator says and as the machine reports it.
satmachine.component('cassettes', {
  mixins: [satmachine.autoReload, satmachine.saving, satmachine.keepsTyped],
  props: {machine: {type: Object, required: true}},
  emits: ['saved'],
  data() {
    return {rows: [], was: '', answer: {}}
  },
  computed: {
    mayChange() {
      return this.can('PUT /machines/{machine_id}/cassettes')
    },
    positions() {
      return Object.fromEntries(
        this.rows.map(({position, denomination, count}) => [
          position,
          {
            denomination: satmachine.format.toSats(denomination),
            count: satmachine.format.toSats(count)
          }
        ])
      )
    },
    dirty() {
      return !!this.was && JSON.stringify(this.positions) !== this.was
    },
    sum() {
      return this.rows.reduce(
        (all, {denomination, count}) => all + denomination * count,
        0
      )
    },
    anyDiffers() {
      return this.rows.some(row => this.differs(row))
    },
    sent() {
      const {offered_at, published_at, confirmed_at} = this.answer
      if (!published_at && offered_at) {
        const ago = this.fmt.ago(offered_at)
        return {look: 'busy', text: this.t('cassettes.offered', {ago})}
      }
      if (!published_at) {
        return {look: 'calm', text: this.t('cassettes.unpublished')}
      }
      if (confirmed_at && confirmed_at >= published_at) {
        const ago = this.fmt.ago(confirmed_at)
        return {look: 'good', text: this.t('cassettes.confirmed', {ago})}
      }
      const ago = this.fmt.ago(published_at)
      return {look: 'busy', text: this.t('cassettes.published', {ago})}
    }
  },
  methods: {
    async load(api) {
      const answer = await api.get(`/machines/${this.machine.id}/cassettes`)
      return () => {
        this.answer = answer
        // What somebody is typing is not overwritten by a live update.
        if (this.was && this.dirty && this.state === 'ready') return
        this.show(answer.positions)
      }
    },
    show(positions) {
      this.rows = Object.entries(positions || {}).map(([position, bay]) => ({
        position: Number(position),
        ...bay
      }))
      this.was = JSON.stringify(this.positions)
    },
    whole(value) {
      return this.fmt.toSats(value) !== null || this.t('cassettes.whole')
    },
    differs(row) {
      if (!row.state_at) return false
      return (
        Number(row.denomination) !== row.state_denomination ||
        Number(row.count) !== row.state_count
      )
    },
    report(row) {
      const {state_count, state_denomination, state_at} = row
      return this.t('cassettes.report', {
        count: this.fmt.number(state_count),
        note: this.fmt.number(state_denomination),
        ago: this.fmt.ago(state_at)
      })
    },
    add() {
      const used = this.rows.map(row => row.position)
      const position = [...Array(16).keys()]
        .map(index => index + 1)
        .find(one => !used.includes(one))
      this.rows.push({position, denomination: '', count: ''})
      this.rows.sort((a, b) => a.position - b.position)
    },
    remove(row) {
      this.rows = this.rows.filter(one => one !== row)
    },
    takeOver() {
      this.rows.forEach(row => {
        if (!row.state_at) return
        row.denomination = row.state_denomination
        row.count = row.state_count
      })
    },
    save() {
      return this.send(async () => {
        this.answer = await satmachine.api.put(
          `/machines/${this.machine.id}/cassettes`,
          {positions: this.positions}
        )
        this.show(this.answer.positions)
        this.say(this.t('cassettes.saved'))
        this.$emit('saved')
      })
    }
  }
})
