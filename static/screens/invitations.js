// Where a link that invites leads: who invites, to which machine, yes or no.
satmachine.component('screen-invitations', {
  props: {id: String},
  data() {
    return {isIn: false}
  },
  methods: {
    async answered(way) {
      await satmachine.live.loadMe()
      this.isIn = way === 'accept'
    }
  }
})
