// A visit, at the machine and on a phone. Each value is sent when it is entered; what
// cannot be sent is kept on this device and sent again, in the same order, until it is.
;(() => {
  const RETRY_MS = 4000
  const LATE_MS = 5000
  const keyOf = id => `satmachine.visit.${id}`
  const whole = text =>
    /^\d{1,7}$/.test(String(text ?? '').trim()) ? Number(text) : null

  satmachine.component('screen-visit', {
    mixins: [satmachine.autoReload, satmachine.saving],
    props: {id: String},
    data() {
      return {
        visit: null,
        places: [],
        unsent: [],
        sending: false,
        offline: false
      }
    },
    computed: {
      // The same reason stands beside each note of the box: it is said once.
      likelyReasons() {
        const said = this.visit.differences.map(one => one.likely_reason)
        return [...new Set(said.filter(Boolean))]
      },
      isOpen() {
        return this.visit.status === 'open'
      },
      counts() {
        return this.isOpen && this.can('PUT /visits/{visit_id}')
      },
      title() {
        return this.t('visit.title', {
          machine: this.machineName(this.visit.machine_id)
        })
      },
      currency() {
        return this.visit.currency
      },
      kept() {
        if (this.offline) return {look: 'warn', text: this.t('visit.kept')}
        if (this.unsent.length || this.sending) {
          return {look: 'busy', text: this.t('visit.sending')}
        }
        return {look: 'good', text: this.t('visit.saved')}
      },
      csv() {
        return satmachine.api.url(`/visits/${this.id}.csv`)
      },
      slip() {
        return satmachine.api.page(`/visits/${this.id}/slip`, {
          lang: this.$i18n.locale,
          tz: this.store.zone
        })
      }
    },
    methods: {
      async load(api) {
        if (!this.visit) this.unsent = this.remembered()
        const visit = await api.get(`/visits/${this.id}`)
        return () => {
          const first = !this.visit
          this.show(visit, first)
          if (first) this.flush()
        }
      },
      remembered() {
        try {
          return JSON.parse(localStorage.getItem(keyOf(this.id))) || []
        } catch {
          return []
        }
      },
      remember() {
        if (this.unsent.length) {
          localStorage.setItem(keyOf(this.id), JSON.stringify(this.unsent))
        } else {
          localStorage.removeItem(keyOf(this.id))
        }
      },
      // What was typed stays; what the server adds is what it expected.
      show(visit, first) {
        this.visit = visit
        if (!first && this.places.length) {
          visit.places.forEach(one => {
            const shown = this.places.find(({place}) => place === one.place)
            if (!shown) return
            shown.expected = one.expected
            shown.expectedAmount = one.expected_amount
          })
          return
        }
        const bays = visit.places.filter(({place}) => place !== 'box')
        const notes = [...new Set(bays.map(({denomination}) => denomination))]
        this.places = visit.places.map(one => this.placeOf(one, notes))
        this.unsent.forEach(body => this.overlay(body))
      },
      placeOf(one, notes) {
        const isBox = one.place === 'box'
        const counts = one.counts || {}
        const filled = one.filled || {}
        const [note = one.denomination] = Object.keys({...filled, ...counts})
        const known = isBox
          ? [...new Set([...notes, ...Object.keys(counts)].map(Number))]
          : []
        return {
          place: one.place,
          isBox,
          isNew: !isBox && !one.denomination && !note,
          note: note || '',
          count: isBox ? '' : (counts[note] ?? ''),
          filled: filled[note] ?? '',
          taken: one.is_emptied,
          rows: known
            .filter(Boolean)
            .sort((a, b) => b - a)
            .map(each => ({note: each, count: counts[each] ?? ''})),
          expected: one.expected,
          expectedAmount: one.expected_amount
        }
      },
      overlay({counts = {}, filled = {}, emptied}) {
        this.places.forEach(one => {
          const said = counts[one.place]
          const put = filled[one.place]
          if (said && one.isBox) {
            one.rows.forEach(row => (row.count = said[row.note] ?? row.count))
          } else if (said) {
            ;[[one.note, one.count]] = Object.entries(said)
          }
          if (put) [[one.note, one.filled]] = Object.entries(put)
          if (emptied) one.taken = emptied.includes(one.place)
        })
      },
      name({place}) {
        return this.placeName(place)
      },
      wholeRule(value) {
        return (
          String(value ?? '') === '' ||
          whole(value) !== null ||
          this.t('visit.whole')
        )
      },
      addBay() {
        const used = this.places.map(({place}) => place)
        const place = [...Array(16).keys()]
          .map(index => `bay:${index + 1}`)
          .find(one => !used.includes(one))
        const bay = {place, isBox: false, isNew: true, note: '', count: ''}
        const rest = {filled: '', taken: false, rows: []}
        this.places.splice(this.places.length - 1, 0, {...bay, ...rest})
      },
      addNote(one) {
        one.rows.push({note: '', count: '', isNew: true})
      },
      counted(one) {
        if (one.isBox) return this.countedBox(one)
        const note = whole(one.note)
        const count = whole(one.count)
        if (!note || count === null) return
        this.put({counts: {[one.place]: {[note]: count}}})
      },
      countedBox(one) {
        const rows = one.rows.filter(
          ({note, count}) => whole(note) && whole(count) !== null
        )
        if (!rows.length) return
        const said = rows.map(({note, count}) => [whole(note), whole(count)])
        this.put({counts: {[one.place]: Object.fromEntries(said)}})
      },
      wasFilled(one) {
        const note = whole(one.note)
        const count = whole(one.filled)
        if (note && count !== null) {
          this.put({filled: {[one.place]: {[note]: count}}})
        } else if (one.filled === '') {
          this.put({filled: {[one.place]: null}})
        }
      },
      took() {
        const emptied = this.places
          .filter(({taken}) => taken)
          .map(({place}) => place)
        this.put({emptied})
      },
      // The same value again is not sent again.
      put(body) {
        const said = JSON.stringify(body)
        const key = said.split(':')[0] + Object.keys(Object.values(body)[0])
        if (this.said?.[key] === said) return
        this.said = {...this.said, [key]: said}
        this.unsent.push({...body, typed: Date.now()})
        this.remember()
        this.flush()
      },
      async flush() {
        if (this.sending || !this.unsent.length) return
        this.sending = true
        this.failure = ''
        try {
          while (this.unsent.length) {
            const [{typed, ...body}] = this.unsent
            // This device's clock is asked only where the connection was gone.
            if (Date.now() - typed > LATE_MS) {
              body.counted_at = new Date(typed).toISOString()
            }
            const visit = await satmachine.api.put(`/visits/${this.id}`, body)
            this.unsent.shift()
            this.remember()
            this.offline = false
            this.show(visit, false)
          }
        } catch (error) {
          this.refused(error)
        } finally {
          this.sending = false
        }
      },
      refused(error) {
        const {status} = error
        if (status === 0 || status === 429 || status >= 500) {
          this.offline = true
          return
        }
        // The server has looked at it and said no: it would say so again.
        this.unsent.shift()
        this.said = {}
        this.remember()
        this.failure = error.message
      },
      difference(one, note, count) {
        const typed = whole(count)
        if (!one.expected || typed === null) return null
        const expected = Number(one.expected[note] ?? 0)
        if (typed === expected) {
          const n = this.fmt.number(expected)
          return {good: true, text: this.t('visit.as_expected', {n})}
        }
        return {
          good: false,
          text: this.t(typed < expected ? 'visit.missing' : 'visit.more', {
            expected: this.fmt.number(expected),
            n: this.fmt.number(Math.abs(expected - typed))
          })
        }
      },
      // Where somebody put in an amount of which nobody said the notes.
      byAmount({expected, expectedAmount}) {
        if (expected || !expectedAmount) return ''
        const amount = this.fmt.fiat(expectedAmount, this.currency)
        return this.t('visit.expected_amount', {amount})
      },
      askClose() {
        this.$refs.action.open({
          title: this.t('visit.close_title'),
          lines: this.t('visit.close_text'),
          ok: this.t('visit.close'),
          fields: [{name: 'reason', label: this.t('visit.close_reason')}],
          run: async ({reason}) => {
            await this.flush()
            if (this.unsent.length) throw new Error(this.t('visit.unsent'))
            const body = reason ? {reason} : {}
            const path = `/visits/${this.id}/close`
            this.visit = await satmachine.api.post(path, body)
            return this.t('visit.closed')
          }
        })
      },
      askCancel() {
        this.$refs.action.open({
          title: this.t('visit.cancel_title'),
          lines: this.t('visit.cancel_text'),
          ok: this.t('visit.cancel'),
          danger: true,
          run: async () => {
            const path = `/visits/${this.id}/cancel`
            this.visit = await satmachine.api.post(path)
            this.unsent = []
            this.remember()
            return this.t('visit.cancelled')
          }
        })
      },
      differing({place, denomination, expected, counted, ...amounts}) {
        const fiat = amount => this.fmt.fiat(amount, this.currency)
        const notes = count =>
          `${this.fmt.number(count)} × ${this.fmt.number(denomination)}`
        return {
          name: this.name({place}),
          expected: denomination
            ? notes(expected)
            : fiat(amounts.expected_amount),
          counted: denomination ? notes(counted) : fiat(amounts.counted_amount)
        }
      }
    },
    created() {
      this.timer = setInterval(() => this.flush(), RETRY_MS)
      this.online = () => this.flush()
      window.addEventListener('online', this.online)
    },
    unmounted() {
      clearInterval(this.timer)
      window.removeEventListener('online', this.online)
    }
  })
})()
