// The page: finds out who is looking and shows the section asked for. Everything
// else is in lib/, components/ and screens/.
;(() => {
  const PAGES = [
    'welcome',
    'invitations',
    'overview',
    'insight',
    'machines',
    'settlements',
    'payments',
    'lps',
    'splits',
    'discounts',
    'team',
    'settings',
    'log',
    'cash',
    'books',
    'dca',
    'platform',
    'help'
  ]
  // A section with an id is one thing of the list.
  const ONE = {
    machines: 'machine',
    settlements: 'settlement',
    lps: 'lp',
    books: 'report',
    cash: 'visit'
  }

  // Those that no section is named after.
  const TITLES = {
    payments: 'settlements.legs',
    welcome: 'welcome.title',
    invitations: 'invitations.title',
    help: 'help.title'
  }

  // Everything at once, made by the server (api/page_bundle.py); asked for again
  // where it did not come.
  let loading = null
  const loadPage = () =>
    (loading ??= LNbits.utils
      .loadScript('/satmachineadmin/page.js')
      .catch(error => {
        loading = null
        throw error
      }))

  // Where the reader was on the screens that Back leads to.
  const places = new Map()
  let came = 0

  // LNbits reads the id of the wallet in view whenever a payment arrives, and
  // there is none before a wallet's page was opened.
  window.g.wallet ||= window.g.user?.wallets[0]

  window.satmachine = window.satmachine || {}

  window.PageSatmachine = {
    template: '#page-satmachine',
    data() {
      return {state: 'loading', error: '', store: null}
    },
    computed: {
      me() {
        return this.store?.me || {}
      },
      loadingText() {
        return this.$t('satmachine.common.loading')
      },
      retryText() {
        return this.$t('satmachine.common.try_again')
      },
      // One sentence for all parts: they fail for one reason at a time.
      stale() {
        const [why] = this.store?.stale.values() || []
        return why && this.$t('satmachine.common.behind', {why})
      },
      lost() {
        const {lostSince, loggedOut} = this.store || {}
        return !!(lostSince || loggedOut)
      },
      lostText() {
        const time = window.satmachine.format.time(
          new Date(this.store.lostSince).toISOString(),
          {timeStyle: 'short'}
        )
        return this.$t('satmachine.common.lost_since', {time})
      },
      sections() {
        // who collects has one place to be; their choices are at its foot
        if (this.collects) return ['cash']
        const may = section => this.may(section)
        return [
          'overview',
          'insight',
          'machines',
          'settlements',
          'lps',
          'cash',
          'splits',
          'discounts',
          'team',
          'settings',
          'books',
          'dca',
          'platform',
          'log'
        ].filter(may)
      },
      // The roles that this reader could take besides those they have.
      others() {
        if (this.current === 'welcome') return []
        const {operator, lp, enrolled} = this.me
        // who is at work is asked nothing for themselves
        if (this.store.acting) return []
        return [!operator && 'operator', !(lp || enrolled) && 'lp'].filter(
          Boolean
        )
      },
      // Who has only one page, or nothing yet, has nothing to search for.
      searches() {
        return !this.collects && (this.me.operator || this.me.lp)
      },
      // The address behind /satmachineadmin/: a section, and the id of one thing.
      parts() {
        return [this.$route.params.path || []].flat().filter(Boolean)
      },
      asked() {
        return this.parts[0] || ''
      },
      id() {
        return this.parts[1] || ''
      },
      // Where a reader lands who asked for nothing in particular.
      home() {
        if (this.collects) return 'cash'
        if (this.me.operator) return 'overview'
        if (this.me.super) return 'platform'
        return this.me.lp || this.me.enrolled ? 'dca' : 'welcome'
      },
      // Why this address leads home: nothing is there, or it is somebody else's desk.
      astray() {
        const [section, id, ...more] = this.parts
        if (!section) return ''
        const isPage = PAGES.includes(section) && !more.length
        if (
          !isPage ||
          (id && !ONE[section] && !['invitations', 'help'].includes(section))
        ) {
          return 'no_such_page'
        }
        return this.may(section) ? '' : 'not_your_page'
      },
      // The paragraph of the guides about what is on the screen.
      help() {
        const known = window.satmachine.help
        return `/satmachineadmin/help/${known[this.current] || 'README'}`
      },
      current() {
        return this.asked && !this.astray ? this.asked : this.home
      },
      // Who fills machines has one page, and the visits that it leads to.
      collects() {
        return this.store?.acting?.role === 'collector'
      },
      // Another desk is another page: nothing of the last one stays on it.
      desk() {
        const {id, role} = this.store.acting || {}
        return id ? `${id} ${role}` : 'own'
      },
      screen() {
        return (this.id && !this.astray && ONE[this.asked]) || this.current
      },
      title() {
        if (!this.store) return ''
        const key = TITLES[this.current] || `nav.${this.current}`
        const title = this.$t(`satmachine.${key}`)
        const {acting} = this.store
        return acting ? `${title} (${acting.name || '…'})` : title
      }
    },
    methods: {
      // What was typed and is not saved is not left without a question.
      beforeUnload(event) {
        if (this.store?.unsaved.size) event.preventDefault()
      },
      mayLeave() {
        if (!this.store?.unsaved.size) return true
        const common = key => this.$t(`satmachine.common.${key}`)
        return new Promise(resolve => {
          this.$q
            .dialog({
              message: common('discard'),
              ok: {
                label: common('discard_yes'),
                color: 'negative',
                noCaps: true
              },
              cancel: {label: common('keep_typing'), flat: true, noCaps: true}
            })
            .onOk(() => {
              this.store.unsaved.clear()
              resolve(true)
            })
            .onDismiss(() => resolve(false))
        })
      },
      readAgain() {
        window.satmachine.live.again()
      },
      // Whose page it is. What an LP or a newcomer has nothing on is not theirs.
      may(section) {
        const {operator, lp, enrolled} = this.me
        if (this.collects) {
          return ['cash', 'settings', 'invitations', 'help'].includes(section)
        }
        const desk = operator || this.me.super
        return (
          {
            overview: operator,
            insight: desk || lp || enrolled,
            splits: operator,
            discounts: operator,
            team: operator && !this.store.acting,
            settings: desk || lp || enrolled,
            cash: operator,
            dca: lp || enrolled,
            platform: this.me.super,
            welcome: true,
            invitations: true,
            help: true
          }[section] ?? desk
        )
      },
      toMain() {
        document.getElementById('satm-main').focus()
      },
      // Somebody who comes from another screen hears and sees where they are now;
      // who comes back finds what they had before their eyes.
      async arrive() {
        const isFirst = !came
        came += 1
        const {fullPath} = this.$route
        const {position} = window.history.state || {}
        const was = places.get(`${position} ${fullPath}`)
        for (let tries = 0; tries < 40; tries++) {
          await new Promise(resolve => setTimeout(resolve, 50))
          if (this.$.isUnmounted) return
          const waits = this.$el.querySelector?.('.satm-skeleton')
          if (waits || !this.$el.querySelector?.('h1')) continue
          if (was) window.scrollTo(0, was)
          else if (!isFirst) this.focusHeading()
          return
        }
      },
      focusHeading() {
        const {activeElement} = document
        if (activeElement?.matches('input, textarea, .q-dialog *')) return
        const heading = this.$el.querySelector('h1')
        heading.setAttribute('tabindex', '-1')
        heading.focus({preventScroll: true})
      },
      async boot() {
        this.state = 'loading'
        try {
          await loadPage()
          const {live, store, loadSentences} = window.satmachine
          await loadSentences(this.$i18n.locale)
          // A link is opened by who has never had the extension: it enables it.
          if (this.asked === 'invitations' && this.id) {
            await window.satmachine.api
              .get(`/invitations/${this.id}`)
              .catch(() => null)
          }
          if (!store.me) {
            await live.loadMe()
            await live.loadPreferences()
          }
          this.store = store
          const machines = this.me.operator || this.me.super
          if (
            machines &&
            !(store.machines.length + store.otherMachines.length)
          ) {
            await live.loadMachines()
          }
          live.start()
          this.state = 'ready'
          this.arrive()
        } catch (error) {
          // a file that did not come has no sentence of its own
          const isOurs = error.status !== undefined
          this.error = isOurs
            ? error.message
            : this.$t('satmachine.common.no_connection')
          this.state = 'error'
        }
      }
    },
    watch: {
      // What was on the screen is not theirs to see any more.
      'store.dismissedBy'(name) {
        if (name !== null) this.$router.push('/satmachineadmin/')
      },
      // One window among many is found by its name.
      title: {
        immediate: true,
        handler(title) {
          document.title = [title, 'Satoshi Machine']
            .filter(Boolean)
            .join(' · ')
        }
      },
      '$i18n.locale'(language) {
        window.satmachine.loadSentences?.(language)
      }
    },
    created() {
      this.boot()
      window.addEventListener('beforeunload', this.beforeUnload)
      this.unguard = this.$router.beforeEach(() => this.mayLeave())
      this.position = window.history.state?.position
      this.path = this.$route.fullPath
      this.unmark = this.$router.afterEach(to => {
        places.set(`${this.position} ${this.path}`, this.scrolled)
        this.position = window.history.state?.position
        this.path = to.fullPath
      })
      this.onScroll = () => (this.scrolled = window.scrollY)
      window.addEventListener('scroll', this.onScroll, {passive: true})
    },
    unmounted() {
      this.unguard()
      this.unmark()
      window.removeEventListener('scroll', this.onScroll)
      window.removeEventListener('beforeunload', this.beforeUnload)
      window.satmachine.live?.stop()
    }
  }
})()
