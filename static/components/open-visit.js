// "I am at this machine": opens a visit there, or goes on with the open one.
satmachine.component('open-visit', {
  mixins: [satmachine.saving],
  props: {machineId: {type: String, required: true}},
  methods: {
    async open() {
      await this.send(async () => {
        const path = `/machines/${this.machineId}/visits`
        const visit = await satmachine.api.post(path)
        this.go(`cash/${visit.id}`)
      })
      if (this.failure) this.say(this.failure, 'negative')
    }
  }
})
