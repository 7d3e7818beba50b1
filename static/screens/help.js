// A page of the guides, as it ships with the extension: no internet is asked for it.
;(() => {
  const BASE = '/satmachineadmin'
  const SPANISH = ['operator', 'lp', 'collector']

  // Markdown to safe HTML; unlike LNbits' own, a line's end is no line break.
  function render(text) {
    const converter = new showdown.Converter()
    converter.setFlavor('github')
    converter.setOption('simpleLineBreaks', false)
    return DOMPurify.sanitize(converter.makeHtml(text))
  }

  // Links between pages stay in the extension, pictures come from it.
  function atHome(html) {
    const {body} = new DOMParser().parseFromString(html, 'text/html')
    for (const picture of body.querySelectorAll('img')) {
      const path = picture.getAttribute('src').replace(/^(\.\.\/)+/, '')
      picture.setAttribute('src', `${BASE}/docs/${path}`)
    }
    for (const link of body.querySelectorAll('a[href]')) {
      const href = link.getAttribute('href')
      const [, page, place] =
        href.match(/^(?:\.\.\/|es\/)*([\w-]+)\.md(#.*)?$/) || []
      if (page) link.setAttribute('href', `${BASE}/help/${page}${place || ''}`)
      else if (!href.startsWith('#')) {
        link.setAttribute('target', '_blank')
        link.setAttribute('rel', 'noopener noreferrer')
      }
    }
    return body.innerHTML
  }

  satmachine.component('screen-help', {
    props: {id: {type: String, default: ''}},
    data() {
      return {html: '', state: 'loading', error: ''}
    },
    computed: {
      page() {
        return /^[\w-]+$/.test(this.id) ? this.id : 'README'
      },
      isSpanish() {
        return this.$i18n.locale.startsWith('es')
      },
      path() {
        const spanish = this.isSpanish && SPANISH.includes(this.page)
        return `${spanish ? 'es/' : ''}${this.page}.md`
      },
      isForeign() {
        return this.isSpanish && !this.path.startsWith('es/')
      }
    },
    watch: {
      path() {
        this.read()
      },
      '$route.hash'() {
        this.find()
      }
    },
    created() {
      this.read()
    },
    methods: {
      async read() {
        this.state = 'loading'
        try {
          const {data} = await axios.get(`${BASE}/docs/${this.path}`, {
            responseType: 'text'
          })
          this.html = atHome(render(data))
          this.state = 'ready'
          this.$nextTick(this.find)
        } catch (error) {
          this.error = this.t('common.server_error', {
            status: error.response?.status || ''
          })
          this.state = 'error'
        }
      },
      find() {
        const name = decodeURIComponent(this.$route.hash.slice(1))
        if (name) document.getElementById(name)?.scrollIntoView()
        else window.scrollTo(0, 0)
      },
      // A click on a link between pages changes the address, not the whole page.
      follow(event) {
        const href = event.target.closest?.('a')?.getAttribute('href') || ''
        if (!href.startsWith(BASE) && !href.startsWith('#')) return
        event.preventDefault()
        this.$router.push(href.startsWith('#') ? {hash: href} : href)
      }
    }
  })
})()
