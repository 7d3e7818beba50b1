// Where a link that invites leads: who invites, to which machine, yes or no.
satmachine.component('screen-invitations', {
  props: {id: String},
  data() {
    return {isIn: false, work: null}
  },
  methods: {
    async answered(way, {role, id}) {
      await satmachine.live.loadMe()
      if (way !== 'accept') return
      if (role) this.work = id
      else this.isIn = true
    },
    async begin() {
      // the code is used up: it is not asked for again
      await this.go('')
      await satmachine.live.actFor(this.work)
    }
  }
})
