// Where a long page goes on, for who has a phone in one hand: one link for each of its
// parts.
satmachine.component('jumps', {
  data() {
    return {parts: []}
  },
  mounted() {
    this.look()
  },
  watch: {
    '$i18n.locale'() {
      this.$nextTick(this.look)
    },
    phone() {
      this.look()
    }
  },
  methods: {
    // The parts are there as soon as the page is, whatever they still load.
    look() {
      const page = this.$el.parentElement
      this.parts = [...(page?.querySelectorAll('section[aria-label]') || [])]
        .filter(part => !part.parentElement.closest('section[aria-label]'))
        .map(part => ({part, label: part.getAttribute('aria-label')}))
    },
    go({part}) {
      part.scrollIntoView()
      const heading = part.querySelector('h2') || part
      heading.setAttribute('tabindex', '-1')
      heading.focus({preventScroll: true})
    }
  }
})
