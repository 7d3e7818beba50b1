// One deposit and the steps it may take next. `own`: the LP looks at it;
// `bare`: the steps alone, in a table. `ask` hands the question of a step to
// whoever holds the dialog: the row may leave the list while it is open.
satmachine.component('deposit-row', {
  props: {
    deposit: {type: Object, required: true},
    own: Boolean,
    bare: Boolean
  },
  emits: ['ask'],
  computed: {
    when() {
      const {confirmed_at, created_at} = this.deposit
      return confirmed_at
        ? this.t('deposits.confirmed_at', {time: this.fmt.time(confirmed_at)})
        : this.t('deposits.recorded_at', {time: this.fmt.time(created_at)})
    },
    disputed() {
      const {dispute} = this.deposit
      return dispute?.state === 'open'
        ? this.t('said.disputed', {reason: dispute.reason})
        : ''
    },
    asked() {
      const {reversal, currency} = this.deposit
      if (reversal?.state !== 'requested') return ''
      const amount = this.fmt.fiat(reversal.amount, currency)
      return this.own
        ? this.t('said.asks', {amount, reason: reversal.reason})
        : this.t('said.waits', {amount})
    },
    says() {
      const open = this.deposit.dispute?.state === 'open'
      const said = [open ? 'withdraw' : 'dispute']
      return this.asked ? ['agree', 'refuse', ...said] : said
    },
    // The super decides what the two cannot agree on.
    decides() {
      return !this.own && this.me.super && (this.disputed || this.asked)
    },
    steps() {
      const next = {
        pending: ['confirmed', 'corrected', 'cancelled'],
        claimed: ['confirmed', 'cancelled'],
        confirmed: ['reversed']
      }
      const found = next[this.deposit.status] || []
      return found.filter(step =>
        this.can(
          step === 'corrected'
            ? 'PUT /deposits/{deposit_id}'
            : 'PUT /deposits/{deposit_id}/status'
        )
      )
    }
  },
  // What waits for a person leads to the very question.
  async mounted() {
    const {query} = this.$route
    const isAsked = !this.own && query.do === this.deposit.id
    if (!isAsked || !this.steps.includes('confirmed')) return
    const {do: step, ...rest} = query
    // a dialog closes when the address changes
    await this.$router.replace({query: rest})
    this.ask('confirmed')
  },
  methods: {
    // What the LP says of it: each is asked once and sent with its reason.
    say(word) {
      const {id} = this.deposit
      const ways = {
        dispute: 'dispute',
        withdraw: 'withdraw-dispute',
        agree: 'accept-reversal',
        refuse: 'decline-reversal'
      }
      const reason = {
        name: 'reason',
        type: 'long',
        label: this.t('common.reason'),
        required: word === 'dispute'
      }
      this.$emit('ask', {
        title: this.t(
          word === 'dispute' ? 'said.dispute_title' : `said.${word}`
        ),
        lines: word === 'dispute' ? this.t('said.dispute_text') : this.asked,
        ok: this.t(`said.${word}`),
        fields: ['dispute', 'refuse'].includes(word) ? [reason] : [],
        run: async ({reason}) => {
          const body = reason ? {reason} : {}
          await satmachine.api.post(`/lp/deposits/${id}/${ways[word]}`, body)
          return word === 'dispute' ? this.t('said.dispute_done') : ''
        }
      })
    },
    decide(outcome) {
      this.$emit('ask', {
        title: this.t(`said.decide_${outcome}`),
        lines: [
          this.disputed,
          this.asked,
          this.t(`said.${outcome}_means`)
        ].filter(Boolean),
        ok: this.t(`said.decide_${outcome}`),
        danger: outcome === 'accepted',
        fields: [
          {
            name: 'reason',
            type: 'long',
            label: this.t('common.reason'),
            required: true
          }
        ],
        run: async ({reason}) => {
          const path = `/super/deposits/${this.deposit.id}/decide`
          await satmachine.api.post(path, {outcome, reason})
          return this.t('consent.decided')
        }
      })
    },
    ask(step) {
      const corrects = step === 'corrected'
      this.$emit('ask', corrects ? this.correction() : this.change(step))
    },
    told({amount, currency, username, client_id}) {
      return {
        amount: this.fmt.fiat(amount, currency),
        name: username || this.fmt.short(client_id)
      }
    },
    change(status) {
      const said = this.told(this.deposit)
      const path = `/deposits/${this.deposit.id}/status`
      const reason = {
        name: 'reason',
        type: 'long',
        label: this.t('common.reason'),
        required: true
      }
      return {
        title: this.t(`deposits.${status}_title`),
        lines: this.t(`deposits.${status}_text`, said),
        ok: this.t(`deposits.do_${status}`),
        danger: status === 'reversed',
        fields: status === 'confirmed' ? [] : [reason],
        run: async values => {
          await satmachine.api.put(path, {status, ...values})
          return this.t(`deposits.${status}_done`, said)
        }
      }
    },
    correction() {
      const {id, amount, currency, notes} = this.deposit
      return {
        title: this.t('deposits.corrected_title'),
        lines: this.t('deposits.corrected_text', this.told(this.deposit)),
        ok: this.t('common.save'),
        fields: [
          {
            name: 'amount',
            type: 'amount',
            label: this.t('deposits.amount'),
            suffix: currency,
            value: amount,
            required: true
          },
          {
            name: 'notes',
            type: 'long',
            label: this.t('deposits.notes'),
            value: notes
          }
        ],
        run: async values => {
          const saved = await satmachine.api.put(`/deposits/${id}`, values)
          return this.t('deposits.corrected_done', this.told(saved))
        }
      }
    }
  }
})
