// Trades by hour and weekday: the busier, the stronger the colour; the number says it
// as well. It is a table, for those who see colours and those who do not.
satmachine.component('insight-heat', {
  props: {cells: {type: Array, required: true}},
  computed: {
    days() {
      return [1, 2, 3, 4, 5, 6, 7].map(number => ({
        number,
        name: this.fmt.time(`2024-01-0${number}T12:00:00Z`, {
          weekday: 'short',
          timeZone: 'UTC'
        })
      }))
    },
    // of all currencies: what is counted are people at the machine
    counts() {
      const found = new Map()
      this.cells.forEach(({weekday, hour, trades, volume_sats}) => {
        const key = `${weekday} ${hour}`
        const one = found.get(key) || {trades: 0, sats: 0}
        one.trades += trades
        one.sats += volume_sats
        found.set(key, one)
      })
      return found
    },
    hours() {
      const most = Math.max(1, ...[...this.counts.values()].map(x => x.trades))
      return Array.from({length: 24}, (_, number) => ({
        number,
        name: `${String(number).padStart(2, '0')}:00`,
        cells: this.days.map(day => {
          const one = this.counts.get(`${day.number} ${number}`)
          const share = one ? Math.round(12 + (48 * one.trades) / most) : 0
          return {
            day: day.number,
            text: one ? this.fmt.number(one.trades) : '',
            title: one ? this.fmt.sats(one.sats) : '',
            style: share && {
              background: `color-mix(in srgb, var(--q-primary) ${share}%, transparent)`
            }
          }
        })
      }))
    }
  }
})
