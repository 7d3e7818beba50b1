// The alarm of a machine whose payouts a reconciliation stopped, and the way on.
satmachine.component('stopped', {
  props: {machine: {type: Object, required: true}, report: String},
  emits: ['changed'],
  computed: {
    reports() {
      return {
        path: '/satmachineadmin/books',
        query: {machine_id: this.machine.id}
      }
    }
  },
  methods: {
    // Which of the two databases knows more, if a restored one is the reason.
    restored() {
      const reason = this.machine.payouts_stopped_reason || ''
      if (reason.startsWith('LNbits made ')) return 'take_over'
      return reason.startsWith('LNbits does not know ') ? 'undo' : null
    },
    restore(verb) {
      this.$refs.action.open({
        title: this.t(`machine.${verb}_title`),
        lines: [
          this.localize(this.machine.payouts_stopped_reason),
          this.t(`machine.${verb}_text`)
        ],
        ok: this.t(`machine.${verb}`),
        fields: [
          {
            name: 'reason',
            type: 'long',
            label: this.t('common.reason'),
            required: true
          }
        ],
        run: async values => {
          const path = verb === 'undo' ? 'undo' : 'take-over'
          const done = await satmachine.api.post(
            `/machines/${this.machine.id}/${path}`,
            values
          )
          return this.t(`machine.${verb}_done`, {
            n: this.fmt.number(done.payments),
            sats: this.fmt.sats(done.amount_sats),
            left: this.fmt.number(done.left)
          })
        }
      })
    },
    resume() {
      this.$refs.action.open({
        title: this.t('machine.resume_title'),
        lines: this.t('machine.resume_text', {
          reason: this.localize(this.machine.payouts_stopped_reason)
        }),
        ok: this.t('machine.resume'),
        fields: [
          {
            name: 'reason',
            type: 'long',
            label: this.t('common.reason'),
            required: true
          }
        ],
        run: async values => {
          const path = `/machines/${this.machine.id}/resume-payouts`
          await satmachine.api.post(path, values)
          return this.t('machine.resumed')
        }
      })
    }
  }
})
