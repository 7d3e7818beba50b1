// The session is over: a login on the spot, of the same account, with everything as it
// was afterwards. Where there is no password the address is kept for the next visit.
;(() => {
  const KEPT = 'satmachine.address'

  satmachine.component('session', {
    mixins: [satmachine.saving],
    data() {
      return {shown: false, password: '', kept: ''}
    },
    computed: {
      username() {
        return this.g.user?.username || ''
      }
    },
    watch: {
      'store.loggedOut': {
        immediate: true,
        handler(out) {
          this.shown = out
          this.password = ''
          if (out) localStorage.setItem(KEPT, this.$route.fullPath)
          else if (!this.kept) localStorage.removeItem(KEPT)
        }
      }
    },
    created() {
      this.kept = localStorage.getItem(KEPT) || ''
      if (this.kept === this.$route.fullPath) this.forget()
    },
    methods: {
      forget() {
        localStorage.removeItem(KEPT)
        this.kept = ''
      },
      resume() {
        const {kept} = this
        this.forget()
        this.$router.push(kept)
      },
      login() {
        return this.send(async () => {
          const {username, password} = this
          await axios
            .post('/api/v1/auth', {username, password})
            .catch(({response}) => {
              const isWrong = response?.status === 401
              const key = isWrong ? 'wrong_password' : 'not_possible'
              throw new Error(this.t(`session.${key}`))
            })
          const me = await satmachine.api.get('/me')
          if (me.user_id !== this.me.user_id) window.location.reload()
          satmachine.live.heard()
        })
      }
    }
  })
})()
