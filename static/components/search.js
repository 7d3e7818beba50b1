// One search over everything of the reader's; what is chosen opens.
;(() => {
  const SECTIONS = {
    machine: 'machines',
    client: 'lps',
    settlement: 'settlements'
  }

  satmachine.component('search', {
    data() {
      return {options: [], nothing: false}
    },
    methods: {
      async find(typed, update, abort) {
        const q = typed.trim()
        if (q.length < 2) return abort()
        try {
          const {data} = await satmachine.api.get('/search', {q})
          update(() => {
            this.options = data.map(one => ({...one, title: this.title(one)}))
          })
        } catch (error) {
          abort()
          this.say(error.message, 'negative')
        }
      },
      title({type, label, sats, amount, currency, machine}) {
        return [
          this.words('subject', type),
          label.length > 20 ? this.fmt.short(label) : label,
          amount && this.fmt.fiat(amount, currency),
          sats !== null && this.fmt.sats(sats),
          type !== 'machine' && machine
        ]
          .filter(Boolean)
          .join(' · ')
      },
      open(one) {
        if (!one) return
        this.options = []
        const {type, id, as_lp, settlement_id, client_id} = one
        if (as_lp) return this.go('dca')
        if (SECTIONS[type]) return this.go(`${SECTIONS[type]}/${id}`)
        if (settlement_id) return this.go(`settlements/${settlement_id}`)
        if (client_id) return this.go(`lps/${client_id}`)
        return this.go('lps', {show: 'deposits'})
      }
    }
  })
})()
