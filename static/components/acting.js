// For whom the reader acts, on every page, and the way to another desk.
satmachine.component('acting', {
  data() {
    return {isLeaving: false}
  },
  computed: {
    desks() {
      const {person} = this.store
      const {operator, lp, enrolled} = person
      const own = operator || lp || enrolled || person.super
      const others = person.acting_for
        .filter(({id}) => id !== this.acting?.id)
        .map(one => ({
          id: one.id,
          label: this.t('team.switch_to', this.said(one))
        }))
      const back = {id: null, label: this.t('team.switch_own')}
      return this.acting && own ? [back, ...others] : others
    }
  },
  methods: {
    said({name, role}) {
      return {name: name || '…', role: this.words('staff_role', role)}
    },
    async to(id) {
      try {
        // what is on the screen is this desk's: the other does not have it
        await this.go('')
        await satmachine.live.actFor(id)
      } catch (error) {
        this.say(error.message, 'negative')
      }
    },
    leave() {
      const {id} = this.acting
      const said = this.said(this.acting)
      this.$refs.action.open({
        title: this.t('team.leave_title', said),
        lines: this.t('team.leave_text', said),
        ok: this.t('team.leave', said),
        danger: true,
        run: async () => {
          await satmachine.api.post(`/staff/${id}/leave`)
          this.isLeaving = true
          return this.t('team.left', said)
        }
      })
    },
    async left() {
      if (!this.isLeaving) return
      this.isLeaving = false
      await satmachine.live.loadMe()
      await this.to(null)
    }
  }
})
