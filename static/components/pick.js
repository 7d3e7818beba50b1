// One of several; of many, what is typed narrows them down.
;(() => {
  const FEW = 12

  satmachine.component('pick', {
    props: {options: {type: Array, required: true}},
    data() {
      return {typed: ''}
    },
    computed: {
      many() {
        return this.options.length > FEW
      },
      shown() {
        const wanted = this.typed.toLowerCase()
        return this.options.filter(({label}) =>
          label.toLowerCase().includes(wanted)
        )
      }
    },
    methods: {
      filterOptions(typed, update) {
        update(() => (this.typed = this.many ? typed : ''))
      }
    }
  })
})()
