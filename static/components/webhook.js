// Where the operator's own server is told what happens: its address, its secret while
// it may be seen, what it is told, and what it answered.
;(() => {
  const KINDS = [
    'settlement.completed',
    'attention.opened',
    'attention.closed',
    'deposit.recorded',
    'deposit.confirmed',
    'deposit.cancelled',
    'deposit.reversed',
    'visit.closed'
  ]
  const TONES = {
    waiting: 'busy',
    delivered: 'good',
    given_up: 'bad',
    failed: 'bad'
  }
  // A test has its answer within seconds, wherever the engine runs.
  const TEST_TRIES = 30

  satmachine.component('webhook', {
    mixins: [satmachine.autoReload],
    data() {
      return {hook: {events: []}, secret: '', tested: null, waits: false}
    },
    computed: {
      kinds() {
        return KINDS.map(code => ({code, text: this.kind(code)}))
      },
      columns() {
        const col = (name, extra) => ({
          name,
          label: this.t(`webhook.${name}`),
          sortable: true,
          ...extra
        })
        return [
          col('created_at'),
          col('type'),
          col('status'),
          col('answer_status', {sortable: false}),
          col('actions', {sortable: false})
        ]
      },
      filters() {
        const options = ['waiting', 'delivered', 'given_up'].map(value => ({
          value,
          label: this.words('webhook_status', value)
        }))
        return [{name: 'status', label: this.t('webhook.status'), options}]
      },
      facts() {
        const {last_delivered_at: last, paused_until: until} = this.hook
        const time = at => this.fmt.time(at)
        return [
          last
            ? this.t('webhook.last', {ago: this.fmt.ago(last)})
            : this.t('webhook.never'),
          this.hook.waiting &&
            this.t('webhook.n_waiting', {n: this.hook.waiting}),
          until &&
            this.fmt.parse(until) > satmachine.clock.now &&
            this.t('webhook.paused', {time: time(until)})
        ].filter(Boolean)
      }
    },
    methods: {
      async load(api) {
        const hook = await api.get('/webhook')
        return () => (this.hook = hook)
      },
      kind(code) {
        return this.words('webhook_event', code.replace('.', '_'))
      },
      toneOf({status}) {
        return TONES[status]
      },
      said({answer_status: status, answer, next_try_at: next}) {
        const parts = [status, answer && this.localize(answer)]
        if (next)
          parts.push(this.t('webhook.next', {time: this.fmt.time(next)}))
        return parts.filter(Boolean).join(' · ')
      },
      set() {
        this.$refs.action.open({
          title: this.t(this.hook.url ? 'webhook.change' : 'webhook.set'),
          lines: this.t('webhook.set_text'),
          ok: this.t('common.save'),
          fields: [
            {
              name: 'url',
              label: this.t('webhook.url'),
              hint: 'https://…',
              required: true,
              value: this.hook.url
            }
          ],
          run: async ({url}) => {
            const made = await satmachine.api.put('/webhook', {url})
            this.secret = made.secret || this.secret
            this.hook = made
            return this.t(made.secret ? 'webhook.set_done' : 'webhook.saved')
          }
        })
      },
      rotate() {
        this.$refs.action.open({
          title: this.t('webhook.rotate_title'),
          lines: this.t('webhook.rotate_text'),
          ok: this.t('webhook.rotate'),
          run: async () => {
            const made = await satmachine.api.post('/webhook/rotate')
            this.secret = made.secret
            this.hook = made
            return this.t('webhook.set_done')
          }
        })
      },
      remove() {
        this.$refs.action.open({
          title: this.t('webhook.remove_title'),
          lines: this.t('webhook.remove_text'),
          ok: this.t('webhook.remove'),
          danger: true,
          run: async () => {
            await satmachine.api.delete('/webhook')
            this.secret = ''
            this.tested = null
            return this.t('webhook.remove_done')
          }
        })
      },
      async choose(code, wanted) {
        const others = this.hook.events.filter(one => one !== code)
        const events = wanted ? [...others, code] : others
        await this.tell(() => satmachine.api.put('/webhook', {events}))
      },
      async test() {
        this.waits = true
        this.tested = null
        await this.tell(async () => {
          let event = await satmachine.api.post('/webhook/test')
          for (let n = 0; n < TEST_TRIES && event.status === 'waiting'; n++) {
            await new Promise(resolve => setTimeout(resolve, 500))
            event = await satmachine.api.get(`/webhook/events/${event.id}`)
          }
          this.tested = event
        })
        this.waits = false
      },
      again({id}) {
        return this.tell(() =>
          satmachine.api.post(`/webhook/events/${id}/send-again`)
        )
      },
      allAgain() {
        return this.tell(() => satmachine.api.post('/webhook/send-again'))
      },
      seen() {
        return this.tell(() => satmachine.api.post('/webhook/seen'))
      }
    }
  })
})()
