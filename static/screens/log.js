satmachine.component('screen-log', {
  computed: {
    columns() {
      return [
        {name: 'what', label: this.t('log.what')},
        {name: 'subject_type', label: this.t('log.subject'), sortable: true}
      ]
    },
    filters() {
      const types = ['settlement', 'payment', 'deposit', 'client', 'machine']
      return [
        {
          name: 'subject_type',
          label: this.t('log.subject'),
          options: [...types, 'splits', 'super_config', 'nostr', 'lp'].map(
            value => ({
              value,
              label: this.words('subject', value)
            })
          )
        },
        {name: 'created_at', type: 'range'}
      ]
    }
  },
  methods: {
    target({subject_type, subject_id}) {
      const at = {settlement: 'settlements', machine: 'machines', client: 'lps'}
      const section = at[subject_type]
      return section ? `/satmachineadmin/${section}/${subject_id}` : null
    }
  }
})
