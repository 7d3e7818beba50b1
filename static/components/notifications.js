// What the reader is told, by which channels of their LNbits account, and when. Theirs
// alone, whomever they work for.
;(() => {
  // What a person means who turns them on without a word.
  const NIGHT = {quiet_from: '22:00', quiet_until: '07:00'}
  const MORNING = '08:00'
  // Those that no kind of attention is named after.
  const NEWS = ['sale', 'deposit', 'invitation', 'visit']

  satmachine.component('notifications', {
    mixins: [satmachine.autoReload],
    data() {
      return {told: {channels: [], kinds: []}, tested: null, waits: false}
    },
    computed: {
      offered() {
        return this.told.channels.some(one => one.is_offered)
      },
      isReached() {
        return this.told.channels.some(one => one.is_offered && one.is_set)
      },
      // What came of the test, in one sentence.
      outcome() {
        if (!this.tested) return ''
        const sent = this.tested.channels.filter(one => one.result === 'sent')
        if (!sent.length)
          return this.t(this.isReached ? 'told.failed' : 'told.not_sent')
        const names = sent.map(one => this.words('told_channel', one.name))
        return this.t('told.sent', {channels: names.join(', ')})
      },
      facts() {
        const {waiting, next_at: next, given_up: lost} = this.told
        const last = this.told.last_sent_at
        return [
          last && this.t('told.last', {ago: this.fmt.ago(last)}),
          waiting &&
            this.t('told.waiting', {n: waiting, time: this.fmt.time(next)}),
          lost && this.t('told.given_up', {n: lost})
        ].filter(Boolean)
      }
    },
    methods: {
      async load(api) {
        const told = await api.get('/notifications')
        return () => (this.told = told)
      },
      kind(code) {
        const group = NEWS.includes(code) ? 'told_kind' : 'attention_kind'
        return this.words(group, code)
      },
      reach({is_offered: offered, is_set: set}) {
        if (!offered) return this.t('told.not_offered')
        return this.t(set ? 'told.is_set' : 'told.not_set')
      },
      result(name) {
        const one = this.tested?.channels.find(each => each.name === name)
        return one?.result ? this.words('told_result', one.result) : ''
      },
      async test() {
        this.waits = true
        this.tested = null
        await this.tell(async () => {
          this.tested = await satmachine.api.post('/notifications/test')
        })
        this.waits = false
      },
      choose(kind, wanted) {
        return this.put({notify: {[kind]: wanted}})
      },
      setQuiet(wanted) {
        return this.put(wanted ? NIGHT : {quiet_from: null, quiet_until: null})
      },
      setDigest(wanted) {
        return this.put({digest_at: wanted ? MORNING : null})
      },
      // A field that is emptied on the way to another time says nothing.
      setTime(name, time) {
        if (time && time !== this.told[name]) return this.put({[name]: time})
      },
      put(changes) {
        return this.tell(async () => {
          this.told = await satmachine.api.put('/notifications', changes)
        })
      }
    }
  })
})()
