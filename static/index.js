// The page: finds out who is looking, loads the parts of the section asked for
// and shows it. Everything else is in lib/, components/ and screens/.
;(() => {
  const BASE = '/satmachineadmin/static'

  // lib: in this order. The rest: any order, a .vue and a .js of one name, with
  // whatever they need in turn.
  const LIB = [
    'api',
    'format',
    'typed',
    'sentences',
    'store',
    'components',
    'contrast'
  ]
  const COMMON = [
    'navigation',
    'state',
    'tile',
    'chip',
    'list',
    'action',
    'dialog',
    'copyable',
    'qr',
    'pick'
  ]
  // What each needs besides, it says itself (`needs`).
  const SCREENS = [
    'welcome',
    'invitations',
    'overview',
    'machines',
    'machine',
    'settlements',
    'settlement',
    'payments',
    'lps',
    'lp',
    'splits',
    'log',
    'cash',
    'visit',
    'books',
    'report',
    'dca',
    'platform'
  ]
  // A section with an id is one thing of the list.
  const ONE = {
    machines: 'machine',
    settlements: 'settlement',
    lps: 'lp',
    books: 'report',
    cash: 'visit'
  }

  const asked = {}
  const once = (key, load) => {
    asked[key] ??= load().catch(error => {
      delete asked[key]
      throw error
    })
    return asked[key]
  }
  const script = path =>
    once(path, () => LNbits.utils.loadScript(`${BASE}/${path}.js`))
  async function part(path) {
    await Promise.all([
      once(`${path}.vue`, () =>
        LNbits.utils.loadTemplate(`${BASE}/${path}.vue`)
      ),
      script(path)
    ])
    const name = path.replace('components/', '').replace('screens/', 'screen-')
    const needs = window.satmachine.needs[name] || []
    await Promise.all(needs.map(one => part(`components/${one}`)))
  }

  async function loadLib() {
    for (const name of LIB) await script(`lib/${name}`)
  }
  const loadScreen = name =>
    Promise.all([
      ...COMMON.map(one => part(`components/${one}`)),
      part(`screens/${name}`)
    ])

  const style = name =>
    once(
      `${name}.css`,
      () =>
        new Promise((resolve, reject) => {
          const link = document.createElement('link')
          link.rel = 'stylesheet'
          link.href = LNbits.utils.url_for(`${BASE}/css/${name}.css`)
          link.onload = resolve
          link.onerror = () => reject(new Error(`Failed to load ${name}.css`))
          document.head.appendChild(link)
        })
    )
  const loadStyle = () => Promise.all(['page', 'parts', 'screens'].map(style))

  // LNbits loads i18n/ itself; the words of operators, the log and the platform
  // are files of their own, registered with LNbits so that a change of language
  // loads them too.
  const loadWords = () =>
    Promise.all(
      ['desk', 'log', 'platform', 'cash'].map(part =>
        LNbits.utils.loadExtI18n(
          `${BASE}/i18n/${part}`,
          window.i18n.global.locale
        )
      )
    )

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
      // One sentence for all parts: they fail for one reason at a time.
      stale() {
        const [why] = this.store?.stale.values() || []
        return why && this.$t('satmachine.common.behind', {why})
      },
      sections() {
        const {operator, lp, enrolled} = this.me
        const desk = operator || this.me.super
        return [
          operator && 'overview',
          desk && 'machines',
          desk && 'settlements',
          desk && 'lps',
          operator && 'cash',
          operator && 'splits',
          desk && 'books',
          (lp || enrolled) && 'dca',
          this.me.super && 'platform',
          desk && 'log'
        ].filter(Boolean)
      },
      // The roles that this reader could take besides those they have.
      others() {
        if (this.current === 'welcome') return []
        const {operator, lp, enrolled} = this.me
        return [!operator && 'operator', !(lp || enrolled) && 'lp'].filter(
          Boolean
        )
      },
      asked() {
        return this.$route.params.section || ''
      },
      id() {
        return this.$route.params.id || ''
      },
      // Where a reader lands who asked for nothing in particular.
      home() {
        if (this.me.operator) return 'overview'
        if (this.me.super) return 'platform'
        return this.me.lp || this.me.enrolled ? 'dca' : 'welcome'
      },
      screen() {
        if (this.id && ONE[this.asked]) return ONE[this.asked]
        return SCREENS.includes(this.asked) ? this.asked : this.home
      },
      current() {
        return SCREENS.includes(this.asked) ? this.asked : this.home
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
        window.satmachine.live.readAgain()
      },
      async boot() {
        this.state = 'loading'
        try {
          await Promise.all([loadStyle(), loadLib(), loadWords()])
          const {live, store, loadSentences} = window.satmachine
          await loadSentences(this.$i18n.locale)
          // A link is opened by who has never had the extension: it enables it.
          if (this.asked === 'invitations' && this.id) {
            await window.satmachine.api
              .get(`/invitations/${this.id}`)
              .catch(() => null)
          }
          if (!store.me) await live.loadMe()
          this.store = store
          const machines = this.me.operator || this.me.super
          await Promise.all([
            loadScreen(this.screen),
            machines &&
              !(store.machines.length + store.otherMachines.length) &&
              live.loadMachines()
          ])
          live.start()
          this.state = 'ready'
        } catch (error) {
          this.error = error.message
          this.state = 'error'
        }
      }
    },
    watch: {
      '$i18n.locale'(language) {
        window.satmachine.loadSentences?.(language)
      }
    },
    created() {
      this.boot()
      window.addEventListener('beforeunload', this.beforeUnload)
      this.unguard = this.$router.beforeEach(() => this.mayLeave())
    },
    unmounted() {
      this.unguard()
      window.removeEventListener('beforeunload', this.beforeUnload)
      window.satmachine.live?.stop()
    }
  }
})()
