// Asks for a reconciliation and opens its report.
satmachine.component('reconcile', {
  methods: {
    open(machineId) {
      const [first] = this.store.machines
      const machine = {
        name: 'machine_id',
        type: 'select',
        label: this.t('settlement.machine_id'),
        required: true,
        value: first?.id,
        options: this.machineOptions(false)
      }
      const day = (name, hint) => ({
        name,
        type: 'date',
        label: this.t(`list.${name}`),
        hint: hint && this.t(hint)
      })
      this.$refs.action.open({
        title: this.t('books.run_title'),
        lines: this.t('books.run_text'),
        ok: this.t('books.run'),
        fields: [
          ...(machineId ? [] : [machine]),
          day('from', 'books.run_hint'),
          day('to')
        ],
        run: async ({machine_id, from, to}) => {
          const asked = {from: from || null, to: to || null}
          const path = `/machines/${machineId || machine_id}/reconciliation`
          const report = await satmachine.api.post(path, asked)
          this.go(`books/${report.id}`)
        }
      })
    }
  }
})
