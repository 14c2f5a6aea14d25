{{- define "keyturn.database.type" -}}
{{- if not (and (eq .Values.database.type "sqlite") (gt (int .Values.replicas) 1)) }}{{ .Values.database.type }}{{ end }}
{{- end }}

{{- define "keyturn.database.url" -}}
- name: DATABASE_URL
{{- if eq .Values.database.type "sqlite" }}
  value: sqlite:////var/lib/keyturn/keyturn.db
- name: SQLITE_TMPDIR
  value: /var/lib/keyturn
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secretName }}
      key: url
{{- end }}
{{- end }}

{{- define "keyturn.database.keys" -}}
- name: SECRET_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secretName }}
      key: key
      optional: true
- name: SECRET_KEY_PREVIOUS
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secretName }}
      key: key-previous
      optional: true
{{- end }}
