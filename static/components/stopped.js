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
